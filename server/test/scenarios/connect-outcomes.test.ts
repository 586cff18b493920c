/** Every login of the Demo Bank (contract, section 7.1) to its page, and the way back to the application from each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConnectPurpose } from '../../src/access/connect-sessions.ts';
import { BANK_LOGIN_LIMIT } from '../../src/access/limits.ts';
import { MINUTE_MS, SECOND_MS } from '../../src/base/clock.ts';
import type { Connector } from '../../src/connectors/connector.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { sql } from '../../src/storage/sql.ts';
import { type ConnectWorld, createConnectWorld } from '../support/connect.ts';
import { openEngine } from '../support/engines.ts';
import { postForm, type Visited, type Visitor } from '../support/visitor.ts';
import { USER } from '../support/world.ts';

const DEMO = 574;
/** The first id that the migrations hand out. */
const ITEM = 4_000_001;

type Connected = { world: ConnectWorld; user: Visitor; path: string; page: Visited };

/** As far as the bank answers by itself. */
async function connected(world: ConnectWorld, login: string, session: Parameters<ConnectWorld['link']>[0] = {}): Promise<Connected> {
  const user = world.visitor();
  const { path, page } = await world.atForm(user, session);
  await user.submit(page, { USER: login, PWD: 'any' });
  await world.run();
  return { world, user, path, page: await user.get(path) };
}

async function world(t: Parameters<typeof openEngine>[1]): Promise<ConnectWorld> {
  return createConnectWorld(await openEngine('sqlite', t));
}

/** The documented parameters, in order, of the link that leads back; the application's own stay in front. */
function wayBack(page: Visited): [string, string][] {
  const link = page.link(/Continue to Exemple|Back to Exemple|Exemple/);
  assert.ok(link !== null, `"${page.heading}" has no way back`);
  const url = new URL(link);
  assert.equal(`${url.origin}${url.pathname}`, 'https://app.example/return');
  const [own, ...rest] = [...url.searchParams];
  assert.deepEqual(own, ['kept', '1']);
  return rest;
}

const failed = (step: string, itemId: number | null = ITEM): [string, string][] => [
  ...(itemId === null ? [] : ([['item_id', String(itemId)]] as [string, string][])),
  ['user_uuid', USER],
  ['success', 'false'],
  ['step', step],
  ['source', 'connect'],
];
const succeeded = (itemId = ITEM): [string, string][] => [
  ['item_id', String(itemId)],
  ['user_uuid', USER],
  ['success', 'true'],
  ['source', 'connect'],
];

for (const login of ['success', 'anything else', '0', '402x']) {
  test(`login ${login}: connected, and back with success`, async (t) => {
    const { page } = await connected(await world(t), login);
    assert.equal(page.heading, 'You are connected');
    assert.match(page.html, /\d+ accounts of Demo bank were added/);
    assert.deepEqual(wayBack(page), succeeded());
  });
}

for (const [login, sentence, mayRetry] of [
  ['429', /do something on its own website or app first/, true],
  ['429_TOS_TO_VALIDATE', /accept its terms on its own website/, true],
  ['1003', /did not answer as expected/, true],
  ['1005', /not supported/, false],
  ['1005_CLOSED_ACCOUNT', /This account is closed/, false],
  ['1007', /paused/, true],
  ['1010', /not given in time/, true],
] as const) {
  test(`login ${login}: the error in words, and back with step sync_error`, async (t) => {
    const { page } = await connected(await world(t), login, { context: 'a b&c' });
    assert.equal(page.heading, 'Demo bank could not be connected');
    assert.match(page.html, sentence);
    assert.equal(/\/retry"/.test(page.html), mayRetry);
    assert.deepEqual(wayBack(page), [...failed('sync_error'), ['context', 'a b&c']]);
  });
}

for (const [status, again, encore] of [
  [1003, / It will be tried again at the next synchronization\./, / Il sera essayé de nouveau à la prochaine synchronisation\./],
  [1005, null, null],
] as const) {
  test(`one account that fails with ${status} does not take the others away, and is named`, async (t) => {
    const demo = (bank: Connector): Connector => ({
      ...bank,
      // By name, so that one and only one fails; an account of such a name escapes nothing of the page.
      listAccounts: async (request, signal) => {
        const list = await bank.listAccounts(request, signal);
        if (list.kind === 'failed') return list;
        return {
          ...list,
          accounts: list.accounts.slice(0, 2).map((account, at) => (at === 1 ? { ...account, name: 'Livret <A>' } : account)),
        };
      },
      fetchAccount: async (request, signal) =>
        request.account.name === 'Livret <A>' ? { kind: 'failed', status, info: null } : bank.fetchAccount(request, signal),
    });
    const house = await createConnectWorld(await openEngine('sqlite', t), { demo });
    const { user, path, page } = await connected(house, 'success');
    assert.equal(page.heading, 'You are connected');
    assert.match(page.html, /1 account of Demo bank was added\./);
    assert.match(page.html, /The account “Livret &lt;A&gt;” could not be read\./);
    assert.equal(/tried again/.test(page.html), again !== null);
    if (again !== null) assert.match(page.html, again);
    assert.deepEqual(wayBack(page), succeeded());
    const french = await user.get(`${path}?language=fr`);
    assert.match(french.html, /Le compte «\u00a0Livret &lt;A&gt;\u00a0» n’a pas pu être lu\./);
    assert.equal(/nouveau/.test(french.html), encore !== null);
    if (encore !== null) assert.match(french.html, encore);
  });
}

test('wrong credentials are corrected in the same session, on the same item', async (t) => {
  const { world: house, user, path, page } = await connected(await world(t), '402.success');
  assert.equal(page.heading, 'Sign in to Demo bank');
  assert.match(page.html, /did not accept these credentials/);
  assert.deepEqual(wayBack(page), failed('edit_bank_creds_form'));
  await user.submit(page, { USER: 'success', PWD: 'right' });
  await house.run();
  const after = await user.get(path);
  assert.equal(after.heading, 'You are connected');
  assert.deepEqual(wayBack(after), succeeded());
  const types = (await house.events()).map(({ type }) => type);
  assert.equal(types.filter((type) => type === 'item.created').length, 1);
  assert.deepEqual(types.slice(0, 2), ['item.created', 'item.refreshed']);
});

test('a failure is tried again, and succeeds at the second time', async (t) => {
  const { world: house, user, path, page } = await connected(await world(t), '1003.success');
  const waiting = await user.submit(page, {});
  assert.equal(waiting.heading, 'Connecting to Demo bank');
  assert.ok(waiting.waits);
  await house.run();
  assert.equal((await user.get(path)).heading, 'You are connected');
});

test('login otp: any code is accepted', async (t) => {
  const { world: house, user, path, page } = await connected(await world(t), 'otp');
  assert.equal(page.heading, 'Enter your code');
  assert.ok(!page.waits, 'a page that reloads would take the code away while it is typed');
  assert.deepEqual(wayBack(page), failed('otp_form'));
  await user.submit(page, { code: ' 123456 ' });
  await house.run();
  assert.equal((await user.get(path)).heading, 'You are connected');
});

test('login otp_fail: a wrong code is told, and after the third the connection failed', async (t) => {
  const connection = await connected(await world(t), 'otp_fail');
  const { world: house, user, path } = connection;
  let { page } = connection;
  for (const left of [2, 1]) {
    await user.submit(page, { code: '000000' });
    await house.run();
    page = await user.get(path);
    assert.equal(page.heading, 'Enter your code');
    assert.match(page.html, /This code was not accepted/);
    assert.match(page.html, new RegExp(`Il vous reste ${left} essai`));
  }
  await user.submit(page, { code: '000000' });
  await house.run();
  page = await user.get(path);
  assert.equal(page.heading, 'Demo bank could not be connected');
  assert.deepEqual(wayBack(page), failed('sync_error'));
  await user.submit(page, {});
  await house.run();
  assert.equal((await user.get(path)).heading, 'Enter your code', 'trying again begins a new challenge');
});

test('a code that is sent again from the same page is told to the bank once', async (t) => {
  const { world: house, user, path, page } = await connected(await world(t), 'otp_fail');
  for (let click = 0; click < 3; click += 1) {
    await user.submit(page, { code: '000000' });
    await house.run();
    assert.match((await user.get(path)).html, /Il vous reste 2 essais/);
  }
});

test('a bank is asked by one user only so often, from whatever page', async (t) => {
  const connection = await connected(await world(t), '402');
  const { world: house, user, path } = connection;
  let { page } = connection;
  for (let login = 2; login <= BANK_LOGIN_LIMIT.count; login += 1) {
    page = await user.submit(page, { USER: '402', PWD: `guess ${login}` });
    await house.run();
    page = await user.get(path);
  }
  const logins = async () => (await house.events()).filter(({ type }) => type === 'item.refreshed').length;
  assert.equal(await logins(), BANK_LOGIN_LIMIT.count);
  const refused = async (answer: Visited) => {
    assert.equal(answer.status, 429);
    assert.equal(answer.heading, 'Too many attempts');
    assert.equal(answer.headers.get('retry-after'), String(BANK_LOGIN_LIMIT.windowMs / 1_000));
  };
  await refused(await user.submit(page, { USER: '402', PWD: 'one more' }));
  await refused(await user.post(`${path}/retry`, { csrf: postForm(page.html)!.csrf }));
  const other = await house.link({ purpose: 'sync', itemId: ITEM });
  const first = await user.get(other);
  await refused(await user.submit(first, {}));
  await house.run();
  assert.equal(await logins(), BANK_LOGIN_LIMIT.count);

  house.clock.advance(BANK_LOGIN_LIMIT.windowMs);
  assert.equal((await user.submit(await user.get(other), {})).heading, 'Connecting to Demo bank');
});

test('a code that is never given expires', async (t) => {
  const { world: house, user, path } = await connected(await world(t), 'otp');
  house.clock.advance(5 * MINUTE_MS);
  await house.run();
  assert.match((await user.get(path)).html, /not given in time/);
});

test('login app2app: the page waits, and goes on by itself', async (t) => {
  const { world: house, user, path, page } = await connected(await world(t), 'app2app');
  assert.equal(page.heading, 'Approve in your banking app');
  assert.ok(page.waits);
  for (let second = 0; second < 5; second += 1) {
    house.clock.advance(SECOND_MS);
    await house.run();
  }
  assert.equal((await user.get(path)).heading, 'You are connected');
});

test('login app2app_expiry: the approval runs out', async (t) => {
  const { world: house, user, path, page } = await connected(await world(t), 'app2app_expiry');
  assert.equal(page.heading, 'Approve in your banking app');
  for (let second = 0; second < 25; second += 1) {
    house.clock.advance(SECOND_MS);
    await house.run();
  }
  assert.match((await user.get(path)).html, /not given in time/);
});

test('a bank that takes too long lets the user go, with step sync_pending', async (t) => {
  const house = await world(t);
  const user = house.visitor();
  const { path, page } = await house.atForm(user);
  const waiting = await user.submit(page, { USER: 'success', PWD: 'any' });
  assert.equal(waiting.heading, 'Connecting to Demo bank');
  assert.deepEqual(wayBack(waiting), failed('sync_in_progress'));
  house.clock.advance(2 * MINUTE_MS + SECOND_MS);
  const pending = await user.get(path);
  assert.equal(pending.heading, 'Still in progress');
  assert.ok(!pending.waits);
  assert.deepEqual(wayBack(pending), failed('sync_pending'));
  await house.run();
  assert.equal((await user.get(path)).heading, 'You are connected');
});

test('leaving before the button says where, and names no item', async (t) => {
  const house = await world(t);
  const user = house.visitor();
  const path = await house.link({ context: 'ctx' });
  const first = await user.get(path);
  assert.deepEqual(wayBack(first), [...failed('list_banks', null), ['context', 'ctx']]);
  const banks = await user.submit(first, {});
  assert.deepEqual(wayBack(banks), [...failed('list_banks', null), ['context', 'ctx']]);
  const form = await user.submit(banks, { bank_id: String(DEMO) });
  assert.deepEqual(wayBack(form), [...failed('bank_creds_form', null), ['context', 'ctx']]);
});

test("a link's own redirect address goes before the application's; without any the page says that it may be closed", async (t) => {
  const house = await world(t);
  const own = await connected(house, 'success', { redirectUrl: 'exampleapp://done' });
  assert.equal(own.page.link(/Exemple/), `exampleapp://done?item_id=${ITEM}&user_uuid=${USER}&success=true&source=connect`);
  await house.services.storage.transaction((tx) => tx.run(sql`update applications set redirect_url = null`));
  const none = await connected(house, 'success');
  assert.equal(none.page.link(/Exemple/), null);
  assert.match(none.page.html, /close/);
});

test('the list of banks is searched, and another bank is chosen after a first', async (t) => {
  const house = await world(t);
  const user = house.visitor();
  const path = await house.link();
  await user.submit(await user.get(path), {});
  assert.match((await user.get(`${path}?query=DÉMO`)).html, /1 bank for “DÉMO”/);
  assert.match((await user.get(`${path}?query=zzz`)).html, /No bank found/);
  const form = await user.submit(await user.get(path), { bank_id: String(DEMO) });
  const another = form.link(/another bank/i);
  assert.ok(another !== null);
  const list = await user.get(another);
  assert.equal(list.heading, 'Choose your bank');
  assert.equal((await user.submit(list, { bank_id: '9001' })).heading, 'Upload your bank statements');
  const bank = await house.link({ bankId: DEMO });
  assert.equal(
    (await user.submit(await user.get(bank), {})).heading,
    'Sign in to Demo bank',
    'a bank that the link names is not asked for',
  );
});

async function again(connection: Connected, purpose: ConnectPurpose): Promise<{ path: string; page: Visited }> {
  const { world: house, user } = connection;
  house.clock.advance(5 * SECOND_MS);
  await house.run();
  house.clock.advance(MINUTE_MS);
  const path = await house.link({ purpose, itemId: ITEM });
  return { path, page: await user.submit(await user.get(path), {}) };
}

test('an edit session takes new credentials for the same item', async (t) => {
  const connection = await connected(await world(t), 'success');
  const { path, page } = await again(connection, 'edit');
  const { world: house, user } = connection;
  assert.equal(page.heading, 'Update your access to Demo bank');
  assert.deepEqual(wayBack(page), failed('edit_bank_creds_form'));
  assert.equal(page.link(/another bank/i), null);
  await user.submit(page, { USER: '402', PWD: 'changed' });
  const item = await house.services.storage.first<{ status: number }>(sql`select status from items where id = ${ITEM}`);
  assert.equal(item!.status, -3);
  await house.run();
  const wrong = await user.get(path);
  assert.match(wrong.html, /did not accept/);
  await user.submit(wrong, { USER: 'success', PWD: 'right' });
  await house.run();
  const done = await user.get(path);
  assert.equal(done.heading, 'You are connected');
  assert.deepEqual(wayBack(done), succeeded());
  assert.equal((await house.events()).filter(({ type }) => type === 'item.created').length, 1);
});

test('credentials that arrive while the bank is asked anyway are not lost in silence', async (t) => {
  const connection = await connected(await world(t), 'success');
  const { path, page } = await again(connection, 'edit');
  const { world: house, user } = connection;
  await refreshItem(house.services, ITEM, 'api');
  const busy = await user.submit(page, { USER: 'success', PWD: 'changed' });
  assert.equal(busy.status, 409);
  assert.match(busy.html, /Wait a few seconds/);
  await house.run();
  await user.submit(busy, { USER: 'success', PWD: 'changed' });
  await house.run();
  assert.equal((await user.get(path)).heading, 'You are connected');
});

test('a sync session asks the bank at once, with the user present', async (t) => {
  const connection = await connected(await world(t), 'success.otp');
  const { path, page } = await again(connection, 'sync');
  const { world: house, user } = connection;
  assert.equal(page.heading, 'Connecting to Demo bank');
  await house.run();
  const code = await user.get(path);
  assert.equal(code.heading, 'Enter your code');
  await user.submit(code, { code: '1' });
  await house.run();
  assert.deepEqual(wayBack(await user.get(path)), succeeded());
});

test('the pages speak French to a French browser, and keep the language that was chosen', async (t) => {
  const house = await world(t);
  const user = house.visitor('fr-FR,fr;q=0.9,en;q=0.5');
  const { path, page } = await house.atForm(user);
  assert.match(page.html, /<html lang="fr">/);
  assert.match(page.html, /Ajouter votre compte/);
  await user.submit(page, { USER: '402_WRONG_PWD', PWD: 'x' });
  await house.run();
  assert.match((await user.get(path)).html, /n’a pas accepté ce mot de passe/);
  const english = await user.get(`${path}?language=en`);
  assert.match(english.html, /did not accept this password/);
  assert.match((await user.get(path)).html, /<html lang="en">/);
  assert.equal((await user.get('/connect/session/unknown')).heading, 'Cette session est terminée');
});

test('statement files are listed in the words of the language, and found by them', async (t) => {
  const house = await world(t);
  const user = house.visitor('fr');
  const path = await house.link({ country: 'DE' });
  await user.submit(await user.get(path), {});
  const found = await user.get(`${path}?query=releves`);
  assert.match(found.html, /Fichiers de relevés/);
  assert.doesNotMatch(found.html, /France/);
});
