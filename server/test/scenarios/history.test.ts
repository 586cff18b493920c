/** The whole history of an item: what is owed of it is fetched by whichever refresh can, whatever failed before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, isoDate } from '../../src/base/clock.ts';
import type { Connector, Failure, FetchRequest } from '../../src/connectors/connector.ts';
import { connectItem, refreshItem } from '../../src/refresh/connection.ts';
import { accountKey, SCOPES } from '../../src/refresh/schedule/ledger.ts';
import { readState, writeState } from '../../src/refresh/schedule/state.ts';
import { advanceClock } from '../../src/refresh/test-clock/test-clock.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { DRIVEN_BANK, drivenBank } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { managementOf } from '../support/management.ts';
import { APPLICATION, createWorld, START, USER, type World } from '../support/world.ts';

const TODAY = Math.floor(START / DAY_MS);
const LOGIN = { USER: 'somebody', PWD: 'any' };
const DOWN: Failure = { kind: 'failed', status: 1003, info: 'WEBSITE_DOWN' };

/** A bank with an old and a recent payment in each of two accounts; each call may be told to fail, or to bring more. */
async function open(storage: Storage, access: Connector['bank']['access'] = {}) {
  const { connector, payments } = drivenBank();
  for (const account of ['first', 'second'] as const) {
    payments(LOGIN.USER).push({ account, day: TODAY - 60, minor: -4_000, label: 'OLD', bookedOn: TODAY - 60 });
    payments(LOGIN.USER).push({ account, day: TODAY - 3, minor: -1_000, label: 'RECENT', bookedOn: TODAY - 3 });
  }
  const bank = {
    login: {} as { keep?: string; consentExpiresAt?: number },
    loginFails: (): Failure | null => null,
    listFails: (): Failure | null => null,
    fails: (_: FetchRequest): Failure | null => null,
    brokenOff: false,
    /** Null for all. */
    lists: null as readonly string[] | null,
    between: async (): Promise<void> => {},
    asked: [] as { account: string; phase: string; from: string | null }[],
    payments: payments(LOGIN.USER),
  };
  const told: Connector = {
    bank: { ...connector.bank, access },
    authenticate: async (request, signal) => {
      const failure = bank.loginFails();
      if (failure) return failure;
      return { ...(await connector.authenticate(request, signal)), ...bank.login } as Awaited<ReturnType<Connector['authenticate']>>;
    },
    listAccounts: async (request, signal) => {
      const list = bank.listFails() ?? (await connector.listAccounts(request, signal));
      if (list.kind === 'failed') return list;
      return { ...list, accounts: list.accounts.filter(({ name }) => bank.lists?.includes(name) ?? true) };
    },
    fetchAccount: async (request, signal) => {
      bank.asked.push({ account: request.account.handle, phase: request.phase, from: request.from });
      const fetched = bank.fails(request) ?? (await connector.fetchAccount(request, signal));
      await bank.between();
      if (fetched.kind === 'failed' || !bank.brokenOff) return fetched;
      // Newest first, until the line broke.
      const batches = fetched.batches.map((batch) => ({
        ...batch,
        observations: batch.observations.slice(-1),
        coverage: { ...batch.coverage, bookedComplete: false, historyComplete: false },
      }));
      return { ...fetched, batches };
    },
  };
  return { bank, connector: told, world: await createWorld(storage, [told]) };
}

/** All calls for one account, as if they had been made just before `at`. */
async function spendQuota(storage: Storage, at: number, identity: string): Promise<void> {
  const { id, schedule } = (await storage.first<{ id: number; schedule: string }>(sql`select id, schedule from items`))!;
  const state = readState(schedule);
  const key = accountKey({ identity, type: 'checking', currency: 'EUR', name: identity });
  const calls = [1, 2, 3, 4].map((before) => ({ at: at - before, accounts: [key], scopes: SCOPES }));
  const written = writeState({ ...state, ledger: { ...state.ledger, calls } });
  await storage.transaction((tx) => tx.run(sql`update items set schedule = ${written} where id = ${id}`));
}

async function advance(world: World, days: number): Promise<void> {
  const moved = await advanceClock(world.services, APPLICATION, { byMs: days * DAY_MS }, { signal: new AbortController().signal });
  assert.ok(moved.ok);
}

const labels = async (storage: Storage) =>
  (
    await storage.all<{ bank_description: string }>(
      sql`select bank_description from transactions where is_deleted = 0 order by account_id, date`,
    )
  ).map((row) => row.bank_description.replace('CARD ', ''));
const refreshed = async (world: World) =>
  (await world.events())
    .filter(({ type }) => type === 'item.refreshed')
    .map(({ content }) => JSON.parse(content) as { status_code: number; full_refresh: boolean });
const itemOf = (storage: Storage) =>
  storage.first<{ connected_once: number; credentials: string | null; due_at: number | null; consent_expires_at: number | null }>(
    sql`select connected_once, credentials, due_at, consent_expires_at from items`,
  );

eachEngine('the whole history', (openStorage) => {
  test('comes with the next refresh where the one after the first data failed', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage);
    let logins = 0;
    bank.loginFails = () => {
      logins += 1;
      return logins === 2 ? DOWN : null;
    };
    await world.connect(DRIVEN_BANK, LOGIN);
    assert.deepEqual(await labels(storage), ['RECENT', 'RECENT']);
    await advance(world, 1);
    assert.deepEqual(await labels(storage), ['OLD', 'RECENT', 'OLD', 'RECENT']);
    const [first, second, third] = await refreshed(world);
    assert.deepEqual([first?.full_refresh, second?.status_code, third?.full_refresh], [false, 1003, true]);
    bank.asked.length = 0;
    await advance(world, 1);
    assert.ok(bank.asked.length > 0 && bank.asked.every(({ phase }) => phase === 'incremental'), 'and is not asked for again');
  });

  test('comes later for an account that failed meanwhile, and is then said to be whole', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage);
    bank.fails = ({ account, phase }) => (account.handle === 'second' && phase === 'full' ? DOWN : null);
    await world.connect(DRIVEN_BANK, LOGIN);
    assert.deepEqual(await labels(storage), ['OLD', 'RECENT', 'RECENT']);
    bank.fails = () => null;
    bank.asked.length = 0;
    await advance(world, 1);
    assert.deepEqual(await labels(storage), ['OLD', 'RECENT', 'OLD', 'RECENT']);
    assert.deepEqual(
      bank.asked.slice(0, 2).map(({ account, phase }) => [account, phase]),
      [
        ['second', 'full'],
        ['first', 'incremental'],
      ],
      'it is tried again alone, and the others are not asked for theirs once more',
    );
  });

  test('a first connection holds where one account fails and another does not', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage);
    const consentExpiresAt = START + 90 * DAY_MS;
    bank.login = { keep: 'token', consentExpiresAt };
    bank.fails = ({ account }) => (account.handle === 'second' ? DOWN : null);
    await world.connect(DRIVEN_BANK, LOGIN);
    assert.deepEqual(await labels(storage), ['OLD', 'RECENT']);
    const item = (await itemOf(storage))!;
    assert.deepEqual([item.connected_once, item.consent_expires_at], [1, consentExpiresAt]);
    assert.ok(item.credentials !== null && item.due_at !== null, 'it is asked again by itself');
    bank.fails = () => null;
    await advance(world, 1);
    assert.deepEqual(await labels(storage), ['OLD', 'RECENT', 'OLD', 'RECENT']);
    assert.equal((await refreshed(world)).at(-1)?.status_code, 0);
  });

  test('what a login brought stands, whatever fails after it', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const consentExpiresAt = START + 180 * DAY_MS;
    bank.login = { keep: 'rotated', consentExpiresAt };
    bank.listFails = () => DOWN;
    await refreshItem(world.services, itemId, 'connect');
    await world.run();
    const item = await storage.first<{ status: number; consent_expires_at: number; connector_state: string | null }>(
      sql`select status, consent_expires_at, connector_state from items`,
    );
    assert.deepEqual([item?.status, item?.consent_expires_at], [1003, consentExpiresAt]);
    assert.notEqual(item?.connector_state, null);
  });

  test('is looked at again after the user has renewed the consent, behind what is new', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    bank.payments.push({ account: 'first', day: TODAY - 50, minor: -77, label: 'SHOWN NOW', bookedOn: TODAY - 50 });
    bank.asked.length = 0;
    const sessionId = await world.session();
    await storage.transaction((tx) => tx.run(sql`update connect_sessions set item_id = ${itemId} where id = ${sessionId}`));
    await connectItem(world.services, {
      ...{ sessionId, applicationId: APPLICATION, userUuid: USER, bankId: DRIVEN_BANK },
      ...{ credentials: LOGIN, clockOffsetMs: 0 },
    });
    await world.run();
    assert.deepEqual([...new Set(bank.asked.map(({ phase }) => phase))], ['incremental']);
    world.clock.advance(5_000);
    await world.run();
    assert.ok((await labels(storage)).includes('SHOWN NOW'));
    assert.equal((await refreshed(world)).at(-1)?.full_refresh, true);
  });

  test('is looked at once a week, where the bank takes that well', async (t) => {
    for (const [fullRefreshDays, found] of [
      [7, true],
      [null, false],
    ] as const) {
      const storage = await openStorage(t);
      const { bank, world } = await open(storage, { fullRefreshDays });
      await world.connect(DRIVEN_BANK, LOGIN);
      // Booked today by a bank that dates it back beyond any window.
      bank.payments.push({ account: 'first', day: TODAY - 35, minor: -55, label: 'LATE', bookedOn: TODAY - 35 });
      await advance(world, 6);
      assert.ok(!(await labels(storage)).includes('LATE'));
      await advance(world, 3);
      assert.equal((await labels(storage)).includes('LATE'), found);
      const whole = bank.asked.filter(({ account, phase }) => account === 'first' && phase === 'full').length;
      assert.equal(whole, found ? 2 : 1);
    }
  });

  test('days that an answer broken off left out are asked for again', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null });
    await world.connect(DRIVEN_BANK, LOGIN);
    bank.fails = () => DOWN;
    await advance(world, 40);
    const missed = TODAY + 5;
    bank.payments.push({ account: 'first', day: missed, minor: -99, label: 'MISSED', bookedOn: missed });
    bank.payments.push({ account: 'first', day: TODAY + 39, minor: -12, label: 'NEWEST', bookedOn: TODAY + 39 });
    bank.fails = () => null;
    bank.brokenOff = true;
    await advance(world, 2);
    bank.brokenOff = false;
    bank.asked.length = 0;
    await advance(world, 1);
    const { from } = bank.asked.find(({ account }) => account === 'first')!;
    assert.ok(from !== null && from <= isoDate(missed * DAY_MS), String(from));
    assert.ok((await labels(storage)).includes('MISSED'));
  });

  test('is still owed where the answer that should have brought it broke off', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null });
    const isFirstFull = ({ phase }: FetchRequest) => {
      if (phase === 'full') bank.brokenOff = true;
      return null;
    };
    bank.fails = isFirstFull;
    await world.connect(DRIVEN_BANK, LOGIN);
    assert.deepEqual(await labels(storage), ['RECENT', 'RECENT']);
    bank.fails = () => null;
    bank.brokenOff = false;
    bank.asked.length = 0;
    await advance(world, 1);
    assert.equal(bank.asked[0]!.from, null);
    assert.deepEqual(await labels(storage), ['OLD', 'RECENT', 'OLD', 'RECENT']);
  });

  test('is not owed for ever by a bank that never answers with a whole list', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null });
    bank.brokenOff = true;
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const askedAt = async (day: number) => {
      world.clock.advance(START + day * DAY_MS - world.clock.now());
      bank.asked.length = 0;
      await refreshItem(world.services, itemId, 'api');
      await world.run();
      return bank.asked[0]!.from;
    };
    assert.equal(await askedAt(89), null);
    await askedAt(91);
    assert.notEqual(await askedAt(92), null);
  });

  test('that is looked at once more and breaks off moves no window past days that were not held before', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null });
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    bank.fails = () => DOWN;
    await advance(world, 40);
    const missed = TODAY + 5;
    bank.payments.push({ account: 'first', day: missed, minor: -99, label: 'MISSED', bookedOn: missed });
    bank.payments.push({ account: 'first', day: TODAY + 39, minor: -12, label: 'NEWEST', bookedOn: TODAY + 39 });
    bank.fails = () => null;
    bank.brokenOff = true;
    await storage.transaction((tx) => tx.run(sql`update items set full_refresh_wanted = 1`));
    bank.asked.length = 0;
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    assert.equal(bank.asked[0]!.phase, 'full');
    bank.brokenOff = false;
    await advance(world, 1);
    assert.ok((await labels(storage)).includes('MISSED'));
  });

  test('is looked at on demand, by one refresh at a time', async (t) => {
    const storage = await openStorage(t);
    const { bank, world, connector } = await open(storage, { fullRefreshDays: null });
    let woken = 0;
    const call = managementOf(world, { onRefreshRequested: () => (woken += 1) });
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const path = `/api/v1/items/${itemId}/refresh`;
    bank.payments.push({ account: 'first', day: TODAY - 35, minor: -55, label: 'LATE', bookedOn: TODAY - 35 });
    await call(202, 'POST', path);
    await world.run();
    assert.ok(!(await labels(storage)).includes('LATE'));

    bank.asked.length = 0;
    const asked = await call<{ refresh_id: string }>(202, 'POST', path, { window: 'full' });
    const { refresh_id, ...rest } = asked;
    assert.deepEqual(rest, { phase: 'full', joined: false });
    assert.deepEqual(await call(202, 'POST', path, { window: 'full' }), { refresh_id, phase: 'full', joined: true });
    await world.run();
    assert.deepEqual([...new Set(bank.asked.map(({ phase, from }) => `${phase} ${from}`))], ['full null']);
    assert.ok((await labels(storage)).includes('LATE'));
    assert.equal((await refreshed(world)).at(-1)?.full_refresh, true);
    bank.asked.length = 0;
    await call(202, 'POST', path, { window: 'incremental' });
    await world.run();
    assert.equal(bank.asked[0]!.phase, 'incremental', 'it is not owed any more');
    assert.equal(woken, 4);

    await call(400, 'POST', path, { window: 'all' });
    await call(400, 'POST', path, { full: true });
    await call(404, 'POST', '/api/v1/items/1/refresh', { window: 'full' });
    const files = { ...connector, bank: { ...connector.bank, input: 'files' as const } };
    await managementOf(world, { connector: () => files })(409, 'POST', path, { window: 'full' });
  });

  test('that is looked at on demand is still owed to an account that did not answer, and to no other', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null });
    const call = managementOf(world);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const refresh = async (window?: 'full') => {
      world.clock.advance(DAY_MS);
      bank.asked.length = 0;
      await call(202, 'POST', `/api/v1/items/${itemId}/refresh`, window && { window });
      await world.run();
      return bank.asked.map(({ account, phase }) => `${account} ${phase}`);
    };
    const ways = ['it failed', 'its quota was spent', 'it was not listed'] as const;
    for (const [at, way] of ways.entries()) {
      const late = { account: 'second' as const, day: TODAY - 35, minor: -at - 1, label: `LATE ${at}`, bookedOn: TODAY - 35 };
      bank.payments.push(late);
      if (way === 'it failed') bank.fails = ({ account }) => (account.handle === 'second' ? DOWN : null);
      if (way === 'its quota was spent') await spendQuota(storage, world.clock.now() + DAY_MS, 'second');
      if (way === 'it was not listed') bank.lists = ['first'];
      assert.deepEqual(await refresh('full'), way === 'it failed' ? ['first full', 'second full'] : ['first full'], way);
      bank.fails = () => null;
      bank.lists = null;
      assert.deepEqual(await refresh(), ['first incremental', 'second full'], way);
      assert.ok((await labels(storage)).includes(late.label), way);
      assert.deepEqual(await refresh(), ['first incremental', 'second incremental'], way);
    }
  });

  test('that is looked at on demand and breaks off is asked for once more, not for ever', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null });
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const refresh = async () => {
      world.clock.advance(DAY_MS);
      bank.asked.length = 0;
      await refreshItem(world.services, itemId, 'api');
      await world.run();
      return bank.asked[0]!;
    };
    for (const account of ['first', 'second'] as const)
      bank.payments.push({ account, day: TODAY + 199, minor: -7, label: 'NEWEST', bookedOn: TODAY + 199 });
    // Long after the connection: what a first history is owed for has passed.
    world.clock.advance(200 * DAY_MS);
    await refresh();
    bank.brokenOff = true;
    await storage.transaction((tx) => tx.run(sql`update items set full_refresh_wanted = 1`));
    assert.equal((await refresh()).phase, 'full');
    assert.equal((await refresh()).phase, 'full');
    const { phase, from } = await refresh();
    const held = isoDate(world.clock.now() - 91 * DAY_MS);
    assert.deepEqual([phase, from], ['incremental', held], 'and no day of the last 90 is passed over');
  });

  test('that is wanted while another refresh runs comes with the next', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null, callsPerDay: null });
    const call = managementOf(world);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const wishes = {
      'by the operator': () => call<{ joined: boolean; phase: string }>(202, 'POST', `/api/v1/items/${itemId}/refresh`, { window: 'full' }),
      'by the user': () => refreshItem(world.services, itemId, 'connect'),
    };
    for (const [whose, wish] of Object.entries(wishes)) {
      const during: { wish: ReturnType<typeof wish> | null } = { wish: null };
      bank.fails = () => {
        during.wish ??= wish();
        return null;
      };
      // The wish is on its way while the first account is fetched, and is there before the second.
      bank.between = async () => void (await during.wish);
      await refreshItem(world.services, itemId, 'api');
      await world.run();
      const { joined, phase } = (await during.wish)!;
      assert.deepEqual([joined, phase], [true, 'incremental'], whose);
      bank.fails = () => null;
      bank.between = async () => {};
      bank.asked.length = 0;
      await refreshItem(world.services, itemId, 'api');
      await world.run();
      assert.deepEqual([...new Set(bank.asked.map((one) => one.phase))], ['full'], whose);
    }
  });

  test('on demand costs what any request costs: where nothing is left the bank is spared, and it stays owed', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage, { fullRefreshDays: null, callsPerDay: 1, callsKeptForRequests: 1, minGapMs: 0 });
    const call = managementOf(world);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    bank.asked.length = 0;
    await call(202, 'POST', `/api/v1/items/${itemId}/refresh`, { window: 'full' });
    await world.run();
    assert.deepEqual([bank.asked, (await refreshed(world)).at(-1)?.status_code], [[], 1007]);
    world.clock.advance(DAY_MS);
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    assert.equal(bank.asked[0]!.phase, 'full');
  });

  test('stays wanted while rows are held, also where their account fails or is spared', async (t) => {
    const storage = await openStorage(t);
    const { bank, world } = await open(storage);
    for (let day = 1; day <= 12; day += 1)
      bank.payments.push({ account: 'first', day: TODAY - day, minor: -day, label: `ROW ${day}`, bookedOn: TODAY - day });
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const wanted = async () => (await storage.first<{ full_refresh_wanted: number }>(sql`select full_refresh_wanted from items`))!;
    const refresh = async () => {
      world.clock.advance(7 * 3_600_000);
      await refreshItem(world.services, itemId, 'api');
      await world.run();
      return (await wanted()).full_refresh_wanted;
    };
    const shown = bank.payments.splice(4);
    assert.equal(await refresh(), 1, 'most rows are gone: held, and looked at whole');
    bank.fails = ({ account }) => (account.handle === 'first' ? DOWN : null);
    assert.equal(await refresh(), 0, 'what is left of the wish stands with the account that failed');
    bank.fails = () => null;
    bank.payments.push(...shown);
    bank.asked.length = 0;
    assert.equal(await refresh(), 0);
    assert.deepEqual(
      bank.asked.map(({ account, phase }) => [account, phase]),
      [
        ['first', 'full'],
        ['second', 'incremental'],
      ],
    );
  });
});
