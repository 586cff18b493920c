/** Who may use a Connect link, for how long, and what its pages give away: nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IDLE_LIFETIME_MS, LINK_LIFETIME_MS } from '../../src/access/connect-sessions.ts';
import { HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import { sql } from '../../src/storage/sql.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { TURNS } from '../../src/upkeep/testing.ts';
import { forgetExpired } from '../../src/upkeep/upkeep.ts';
import { createConnectWorld } from '../support/connect.ts';
import { DRIVEN_BANK, drivenBank } from '../support/driven-bank.ts';
import { eachEngine, openEngine } from '../support/engines.ts';
import { postForm, type Visited } from '../support/visitor.ts';

const PASSWORD = 'a-password-nobody-else-would-type';
const CSP = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const ended = (page: Visited, status: 403 | 404) => {
  assert.equal(page.status, status);
  assert.equal(page.heading, 'This session has ended');
};

eachEngine('connect sessions', (open) => {
  test('a GET never consumes the link: mail scanners come first, and the user still goes on', async (t) => {
    const { link, visitor } = await createConnectWorld(await open(t));
    const path = await link();
    for (let scan = 0; scan < 10; scan += 1) assert.equal((await visitor().get(path)).status, 200);
    const user = visitor();
    const page = await user.submit(await user.get(path), {});
    assert.equal(page.heading, 'Choose your bank');
  });

  test('the first POST binds the link to one browser; any other is refused, with its own token too', async (t) => {
    const { link, visitor, services } = await createConnectWorld(await open(t));
    const path = await link();
    const [first, second] = [visitor(), visitor()];
    const [mine, theirs] = [await first.get(path), await second.get(path)];
    const banks = await first.submit(mine, {});
    ended(await second.get(path), 403);
    ended(await second.post(`${path}/start`, { csrf: postForm(theirs.html)!.csrf }), 403);
    const { csrf } = postForm(banks.html)!;
    ended(await second.post(`${path}/bank`, { csrf, bank_id: '574' }), 403);
    const row = await services.storage.first<{ bank_id: number | null }>(sql`select bank_id from connect_sessions`);
    assert.equal(row!.bank_id, null);
    assert.equal((await first.get(path)).heading, 'Choose your bank');
  });

  test('a double click on the first button leaves the browser bound, whichever answer it shows', async (t) => {
    const { link, visitor } = await createConnectWorld(await open(t));
    const path = await link();
    const user = visitor();
    const page = await user.get(path);
    const pages = await Promise.all([user.submit(page, {}), user.submit(page, {})]);
    assert.deepEqual(
      pages.map(({ heading }) => heading),
      ['Choose your bank', 'Choose your bank'],
    );
  });

  for (const [purpose, heading] of [
    ['edit', 'Update your access to Demo bank'],
    ['sync', 'Connecting to Demo bank'],
  ] as const) {
    test(`a double click on the first button of a link to ${purpose} shows its page, whichever answer it shows`, async (t) => {
      const { link, visitor, connect, services } = await createConnectWorld(await open(t));
      const itemId = await connect(574, { USER: 'success', PWD: PASSWORD });
      const user = visitor();
      const path = await link({ purpose, itemId, bankId: 574 });
      const page = await user.get(path);
      const pages = await Promise.all([user.submit(page, {}), user.submit(page, {}), user.submit(page, {})]);
      assert.deepEqual(
        pages.map((shown) => shown.heading),
        [heading, heading, heading],
      );
      // The server fell between the binding and the beginning: the first page is there again, and leads on.
      await services.storage.transaction((tx) => tx.run(sql`update connect_sessions set step = 'list_banks' where purpose = ${purpose}`));
      const again = await user.get(path);
      assert.equal(again.heading, page.heading);
      assert.equal((await user.submit(again, {})).heading, heading);
    });
  }

  test('a double click on "Add your account" makes one item and one item.created', async (t) => {
    const { atForm, visitor, events, run, services } = await createConnectWorld(await open(t));
    const user = visitor();
    const { path, page } = await atForm(user);
    const fields = { USER: 'success', PWD: PASSWORD };
    await Promise.all([user.submit(page, fields), user.submit(page, fields), user.submit(page, fields)]);
    await run();
    await run();
    assert.equal((await events()).filter(({ type }) => type === 'item.created').length, 1);
    assert.equal((await services.storage.all(sql`select id from items`)).length, 1);
    assert.equal((await user.get(path)).heading, 'You are connected');
  });

  test('a choice of bank that arrives after the button does not take the item from the session', async (t) => {
    const { atForm, visitor, events, run } = await createConnectWorld(await open(t));
    const user = visitor();
    const { path, page } = await atForm(user);
    await Promise.all([
      user.submit(page, { USER: 'x', PWD: 'y' }),
      user.post(`${path}/bank`, { csrf: postForm(page.html)!.csrf, bank_id: '574' }),
    ]);
    await user.submit(page, { USER: 'x', PWD: 'y' });
    await run();
    assert.equal((await events()).filter(({ type }) => type === 'item.created').length, 1);
  });

  test('two tabs with two banks: what was typed for the first is not told to the second', async (t) => {
    const { atForm, visitor, events, services } = await createConnectWorld(await open(t), { banks: [drivenBank().connector] });
    const user = visitor();
    const { path, page: first } = await atForm(user);
    const second = await user.submit(await user.get(`${path}?query=`), { bank_id: String(DRIVEN_BANK) });
    assert.equal(second.heading, 'Sign in to Driven bank');
    const answer = await user.submit(first, { USER: 'success', PWD: PASSWORD });
    assert.equal(answer.heading, 'Sign in to Driven bank');
    assert.deepEqual(await events(), []);
    assert.deepEqual(await services.storage.all(sql`select id from items`), []);
    await user.submit(second, {});
    assert.deepEqual(
      (await services.storage.all<{ bank_id: number }>(sql`select bank_id from items`)).map(({ bank_id }) => bank_id),
      [DRIVEN_BANK],
    );
  });

  test('without the token of its own page a POST does nothing', async (t) => {
    const { atForm, visitor, events } = await createConnectWorld(await open(t));
    const user = visitor();
    const { path, page } = await atForm(user);
    const form = postForm(page.html)!;
    const fields = { USER: 'success', PWD: 'x' };
    ended(await user.post(form.action, fields), 403);
    ended(await user.post(form.action, { ...fields, csrf: '' }), 403);
    ended(await user.post(form.action, { ...fields, csrf: `${form.csrf.slice(0, -1)}~` }), 403);
    ended(await user.post(form.action, { ...fields, csrf: form.csrf }, { 'sec-fetch-site': 'cross-site' }), 403);
    ended(await user.post(form.action, { ...fields, csrf: form.csrf }, { 'sec-fetch-site': 'same-site' }), 403);
    ended(await user.post(form.action, { ...fields, csrf: form.csrf }, { 'content-type': 'text/plain' }), 403);
    ended(await user.post(form.action, { ...fields, csrf: form.csrf }, { 'content-type': 'multipart/form-data; boundary=none' }), 403);
    assert.deepEqual(await events(), []);
    const answer = await user.post(form.action, { ...fields, csrf: form.csrf }, { 'sec-fetch-site': 'same-origin' });
    assert.equal(answer.status, 303);
    assert.equal(answer.headers.get('location'), path);
  });

  test('an unused link ends, and an idle session too; a moving one goes on', async (t) => {
    const { link, visitor, clock, services } = await createConnectWorld(await open(t));
    const [unused, used] = [await link(), await link()];
    const user = visitor();
    clock.advance(LINK_LIFETIME_MS - 1);
    const banks = await user.submit(await user.get(used), {});
    clock.advance(1);
    const late = await visitor().get(unused);
    ended(late, 404);
    ended(await visitor().post(`${unused}/start`, { csrf: 'x' }), 404);
    clock.advance(IDLE_LIFETIME_MS - 2);
    await user.submit(banks, { bank_id: '574' });
    clock.advance(IDLE_LIFETIME_MS - 1);
    assert.equal((await user.get(used)).heading, 'Sign in to Demo bank');
    clock.advance(1);
    ended(await user.get(used), 404);
    await forgetExpired({ storage: services.storage, clock, log: silentLog, ...TURNS });
    assert.deepEqual(await services.storage.all(sql`select id from connect_sessions`), []);
    ended(await user.get(used), 404);
  });

  test('credentials of a first connection that failed are erased within the hour, those of a good one stay', async (t) => {
    const { atForm, visitor, clock, run, services } = await createConnectWorld(await open(t));
    const { storage } = services;
    const stored = async () => {
      const rows = await storage.all<{ credentials: string | null }>(sql`select credentials from items order by id`);
      return rows.map(({ credentials }) => credentials !== null);
    };
    for (const login of ['success', '402', 'otp', '1003']) {
      const user = visitor();
      const { page } = await atForm(user);
      await user.submit(page, { USER: login, PWD: PASSWORD });
      await run();
    }
    const round = () => forgetExpired({ storage, clock, log: silentLog, ...TURNS });
    clock.advance(30 * MINUTE_MS);
    await run();
    await round();
    assert.deepEqual(await stored(), [true, true, true, true]);
    clock.advance(HOUR_MS / 2 - MINUTE_MS);
    await round();
    assert.deepEqual(await stored(), [true, false, false, false]);
    const left = await storage.all(sql`select id from refreshes where challenge_state is not null or answer is not null`);
    assert.deepEqual(left, []);
  });
});

test('no page shows what was typed, and every page forbids everything that it does not need', async (t) => {
  const { link, visitor, run, clock } = await createConnectWorld(await openEngine('sqlite', t));
  const path = await link();
  const user = visitor();
  const pages: Visited[] = [await user.get('/connect/session/unknown'), await user.get('/connect/nothing'), await user.get(path)];
  const seen = (page: Visited) => {
    pages.push(page);
    return page;
  };
  seen(await user.submit(pages[2]!, {}));
  seen(await user.submit(pages[3]!, { bank_id: '574' }));
  seen(await user.post(`${path}/credentials`, { csrf: 'wrong', USER: '402.otp', PWD: PASSWORD }));
  seen(await user.submit(pages[4]!, { USER: '', PWD: PASSWORD }));
  seen(await user.submit(pages[4]!, { USER: '402.otp', PWD: PASSWORD }));
  await run();
  const wrong = seen(await user.get(path));
  seen(await user.submit(wrong, { USER: '402.otp', PWD: PASSWORD }));
  await run();
  const code = seen(await user.get(path));
  assert.equal(code.heading, 'Enter your code');
  seen(await user.submit(code, { code: '123456' }));
  await run();
  seen(await user.get(path));
  seen(await user.post(`${path}/bank`, { csrf: 'x'.repeat(70_000) }));
  clock.advance(IDLE_LIFETIME_MS);
  seen(await user.get(path));
  assert.deepEqual(
    pages.map(({ status }) => status),
    [404, 404, 200, 200, 200, 403, 422, 200, 200, 200, 200, 200, 200, 413, 404],
  );
  for (const page of pages) {
    assert.ok(!page.html.includes(PASSWORD) && !page.html.includes('402.otp') && !page.html.includes('123456'), page.heading);
    assert.equal(page.headers.get('content-security-policy'), CSP, page.heading);
    assert.equal(page.headers.get('cache-control'), 'no-store');
    assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
    assert.notEqual(page.heading, '');
  }
});

test('the cookie is out of reach of scripts, and of plain HTTP where the server has HTTPS', async (t) => {
  const plain = await createConnectWorld(await openEngine('sqlite', t));
  const cookie = (await plain.visitor().get(await plain.link())).headers.get('set-cookie');
  assert.match(cookie ?? '', /^pontage_connect=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/);
  const safe = await createConnectWorld(await openEngine('sqlite', t), { publicUrl: 'https://banks.example.com' });
  const page = await safe.visitor().get(await safe.link());
  assert.match(page.headers.get('set-cookie') ?? '', /^__Host-pontage_connect=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
  assert.match(page.headers.get('strict-transport-security') ?? '', /max-age=31536000/);
});

test('HEAD answers as GET does, and consumes as little', async (t) => {
  const { link, visitor } = await createConnectWorld(await openEngine('sqlite', t));
  const path = await link();
  const user = visitor();
  const head = await user.head(path);
  assert.equal(head.status, 200);
  assert.equal((await user.submit(await user.get(path), {})).heading, 'Choose your bank');
});
