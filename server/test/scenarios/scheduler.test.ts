/** The scheduler through days, with a bank that the test drives: when it is asked, how often, and what its items show. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import { DEFAULT_ACCESS, DEFAULT_BANDS } from '../../src/connectors/access.ts';
import type { Authentication, Connector, Failure, ObservedAccount } from '../../src/connectors/connector.ts';
import { demoBankEntry } from '../../src/connectors/sandbox/demo-bank.ts';
import { claimRefreshes } from '../../src/items/refreshes.ts';
import { connectItem, refreshItem } from '../../src/refresh/connection.ts';
import { explainAccount } from '../../src/refresh/explain.ts';
import type { RefreshRecord } from '../../src/refresh/record.ts';
import { dueItemsQuery } from '../../src/refresh/schedule/due.ts';
import { readItemSchedule } from '../../src/refresh/schedule/read.ts';
import { slotsOfDay } from '../../src/refresh/schedule/slots.ts';
import { advanceClock } from '../../src/refresh/test-clock.ts';
import { type Sql, sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { eachEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, START, USER, type World } from '../support/world.ts';

const BANK = 4001;
const LOGIN = { USER: 'somebody', PWD: 'any' };
const signal = new AbortController().signal;

/** A bank of two accounts without rows, with the default limits, that answers as it is told. */
type DrivenBank = {
  connector: Connector;
  answer: (login: string) => Exclude<Authentication, { kind: 'challenge' }> | null;
  /** How an account fails, by its handle; null where it does not. */
  fail: (account: string) => Failure | null;
  logins: number[];
  fetches: { at: number; account: string }[];
};

function drivenBank(access: Connector['bank']['access'] = {}): DrivenBank {
  const account = (handle: string): ObservedAccount => ({
    identity: handle,
    name: handle,
    type: 'checking',
    currency: 'EUR',
    iban: null,
    isPro: false,
    loanDetails: null,
    savingsDetails: null,
    handle,
  });
  const bank: DrivenBank = {
    answer: () => null,
    fail: () => null,
    logins: [],
    fetches: [],
    connector: {
      bank: { ...demoBankEntry, id: BANK, access },
      async authenticate({ now, credentials }) {
        bank.logins.push(now);
        return bank.answer(credentials.USER ?? '') ?? { kind: 'authenticated', session: null };
      },
      async listAccounts() {
        return { kind: 'accounts', accounts: [account('one'), account('two')], complete: true };
      },
      async fetchAccount({ account: { handle }, now }) {
        bank.fetches.push({ at: now, account: handle });
        const failure = bank.fail(handle);
        if (failure) return failure;
        const windows = [{ from: '2020-01-01', to: '2040-01-01' }];
        const complete = { bookedComplete: true, pendingComplete: true, scheduledComplete: true, historyComplete: true };
        const balance = { amount: { minor: 100, exponent: 2, currency: 'EUR' }, kind: 'booked', at: null };
        return { kind: 'fetched', batches: [{ observations: [], coverage: { windows, ...complete, edgeExclusive: false }, balance }] };
      },
    },
  };
  return bank;
}

const advance = async (world: World, byMs: number) => {
  const moved = await advanceClock(world.services, APPLICATION, { byMs }, { signal });
  assert.ok(moved.ok);
  return moved;
};
const offset = async ({ services }: World) =>
  (await services.storage.first<{ clock_offset_ms: number }>(sql`select clock_offset_ms from applications`))!.clock_offset_ms;
/** A request of the API, run to its end. */
async function ask(world: World, itemId: number, cause: 'api' | 'connect' = 'api'): Promise<void> {
  await refreshItem(world.services, itemId, cause, await offset(world));
  await world.run();
}
const itemOf = async ({ services }: World, itemId: number) =>
  (await services.storage.first<{ status: number; status_code_info: string | null; due_at: number | null }>(
    sql`select status, status_code_info, due_at from items where id = ${itemId}`,
  ))!;
const statusesSince = async (world: World, from: number) =>
  (await world.events())
    .slice(from)
    .filter(({ type }) => type === 'item.refreshed')
    .map(({ content, itemId }) => ({ itemId, status: (JSON.parse(content) as { status_code: number }).status_code }));
const countEvents = async (world: World) => (await world.events()).length;

/** The moments between two of the application's at which an item of the default rules is due, if all is well. */
function slotsOf(itemId: number, from: number, to: number): number[] {
  const rules = { ...DEFAULT_ACCESS, bands: DEFAULT_BANDS };
  const days = Array.from({ length: Math.ceil((to - from) / DAY_MS) + 1 }, (_, day) => Math.floor(from / DAY_MS + day) * DAY_MS);
  return days.flatMap((day) => slotsOfDay(itemId, rules, day)).filter((slot) => slot > from && slot < to);
}

/** As clients see them. */
const updatedAccounts = (itemId: number) => sql`
  select a.name, a.status, case when i.accounts_updated_at > a.updated_at then i.accounts_updated_at else a.updated_at end as at
  from accounts a join items i on i.id = a.item_id where i.id = ${itemId} order by a.id`;

/** The whole plan of a statement, as text. */
async function planOf(storage: Storage, query: Sql): Promise<string> {
  const prefix = storage.engine === 'sqlite' ? 'explain query plan ' : 'explain ';
  const strings = [prefix + query.strings[0], ...query.strings.slice(1)];
  return JSON.stringify(await storage.all({ strings, values: query.values, key: null }));
}

eachEngine('the scheduler', (open, engine) => {
  const start = async (t: Parameters<typeof open>[0], bank: DrivenBank) => createWorld(await open(t), [bank.connector]);

  test('two logins a day, and never more calls than the quota in any 24 hours, however often the API asks', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    const connected = bank.fetches.length;
    for (let hour = 0; hour < 5 * 24; hour += 3) {
      await advance(world, 3 * HOUR_MS);
      await ask(world, itemId);
    }
    const counted = bank.fetches.slice(connected);
    assert.ok(counted.length > 0);
    for (const { at, account } of counted) {
      const window = counted.filter((call) => call.account === account && call.at > at - DAY_MS && call.at <= at);
      assert.ok(window.length <= 4, `${window.length} calls for ${account}`);
    }
  });

  test('a spent quota: the bank is not asked, the item shows 1007 and heals by itself when the quota is free', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    for (let call = 0; call < 4; call += 1) {
      world.clock.advance(1_000);
      await ask(world, itemId);
    }
    const asked = bank.logins.length;
    const before = await countEvents(world);
    await ask(world, itemId);
    assert.equal(bank.logins.length, asked);
    assert.deepEqual(await statusesSince(world, before), [{ itemId, status: 1007 }]);
    const schedule = (await readItemSchedule(world.services, APPLICATION, itemId, world.clock.now()))!;
    assert.deepEqual(
      schedule.quotas!.map(({ left }) => [left.balances.request, left.transactions.scheduler]),
      [
        [0, 0],
        [0, 0],
      ],
    );
    assert.ok(schedule.nextRefreshPossibleAt! > world.clock.now() + 23 * HOUR_MS);
    assert.equal(await readItemSchedule(world.services, 'app_of_another', itemId, world.clock.now()), null);
    // The user's own visit is not counted.
    await ask(world, itemId, 'connect');
    assert.equal(bank.logins.length, asked + 1);
    assert.equal((await itemOf(world, itemId)).status, 0);
    await ask(world, itemId);
    await advance(world, 25 * HOUR_MS);
    assert.equal((await itemOf(world, itemId)).status, 0);
  });

  test("a bank's failure is tried again with growing pauses, and not before the bank wishes; success takes it back", async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    const connected = bank.logins.length;
    bank.answer = () => ({ kind: 'failed', status: 1003, info: 'BANK_IS_DOWN' });
    await advance(world, 5 * DAY_MS);
    const failed = bank.logins.slice(connected);
    const gaps = failed.slice(1).map((at, index) => at - failed[index]!);
    assert.ok(gaps[0]! <= 15 * MINUTE_MS && gaps[1]! <= HOUR_MS && gaps[2]! <= 4 * HOUR_MS && gaps[3]! <= 12 * HOUR_MS, gaps.join());
    assert.ok(gaps.every((gap) => gap >= MINUTE_MS && gap <= DAY_MS));
    bank.answer = () => ({ kind: 'failed', status: 1007, info: null, retryAfterMs: 30 * HOUR_MS });
    await advance(world, DAY_MS + HOUR_MS);
    const last = bank.logins.at(-1)!;
    bank.answer = () => null;
    const seen = bank.logins.length;
    await advance(world, 29 * HOUR_MS - (world.clock.now() + (await offset(world)) - last));
    assert.equal(bank.logins.length, seen);
    await advance(world, 2 * HOUR_MS);
    assert.equal(bank.logins.length, seen + 1);
    assert.equal((await itemOf(world, itemId)).status, 0);
    assert.equal((await readItemSchedule(world.services, APPLICATION, itemId, world.clock.now()))!.failuresInARow, 0);
  });

  test('an item whose bank is not known for a while is tried once a week, and heals when it is known again', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    const { connector } = world.services;
    world.services.connector = () => null;
    const before = await countEvents(world);
    await advance(world, 9 * DAY_MS);
    assert.deepEqual(await statusesSince(world, before), [
      { itemId, status: 1005 },
      { itemId, status: 1005 },
    ]);
    assert.equal((await itemOf(world, itemId)).status_code_info, null);
    world.services.connector = connector;
    await advance(world, 7 * DAY_MS);
    assert.equal((await itemOf(world, itemId)).status, 0);
  });

  test('a bank that is known again, and may be asked by its user only, is not asked by itself', async (t) => {
    const bank = drivenBank();
    bank.connector.bank.unattended = false;
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    const { connector } = world.services;
    world.services.connector = () => null;
    await ask(world, itemId);
    assert.equal((await itemOf(world, itemId)).status, 1005);
    world.services.connector = connector;
    const asked = bank.logins.length;
    await advance(world, 9 * DAY_MS);
    assert.equal(bank.logins.length, asked);
    await ask(world, itemId);
    assert.equal((await itemOf(world, itemId)).status, 0);
  });

  for (const [what, status] of [
    ['is suspended', 1007],
    ['is not supported', 1005],
  ] as const) {
    test(`an account that ${what} for hours is not asked before they are over, the longest of all`, async (t) => {
      const bank = drivenBank({ callsPerDay: null });
      const world = await start(t, bank);
      const itemId = await world.connect(BANK, LOGIN);
      const waits: Record<string, number> = { one: 20 * HOUR_MS, two: HOUR_MS };
      bank.fail = (account) => ({ kind: 'failed', status, info: null, retryAfterMs: waits[account]! });
      await ask(world, itemId);
      const asked = bank.fetches.length;
      bank.fail = () => null;
      await advance(world, 20 * HOUR_MS - MINUTE_MS);
      assert.equal(bank.fetches.length, asked);
      await advance(world, DAY_MS);
      assert.ok(bank.fetches.length > asked);
      assert.equal((await itemOf(world, itemId)).status, 0);
    });
  }

  test('refused credentials are never tried again by themselves; new ones, and the user, are let through', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    bank.answer = (login) => (login === 'somebody' ? { kind: 'failed', status: 402, info: 'WRONG_PWD' } : null);
    await advance(world, DAY_MS);
    const refusedOnce = bank.logins.length;
    await advance(world, 10 * DAY_MS);
    const before = await countEvents(world);
    await ask(world, itemId);
    assert.equal(bank.logins.length, refusedOnce);
    assert.deepEqual(await statusesSince(world, before), [{ itemId, status: 402 }]);
    assert.equal((await itemOf(world, itemId)).status_code_info, 'WRONG_PWD');
    await ask(world, itemId, 'connect');
    assert.equal(bank.logins.length, refusedOnce + 1);
    const sessionId = await world.session();
    await world.services.storage.transaction((tx) => tx.run(sql`update connect_sessions set item_id = ${itemId} where id = ${sessionId}`));
    const owner = { applicationId: APPLICATION, userUuid: USER, bankId: BANK, clockOffsetMs: await offset(world) };
    await connectItem(world.services, { sessionId, ...owner, credentials: { USER: 'somebody else', PWD: 'x' } });
    await world.run();
    assert.equal((await itemOf(world, itemId)).status, 0);
    const { schedule } = (await world.services.storage.first<{ schedule: string }>(sql`select schedule from items where id = ${itemId}`))!;
    assert.doesNotMatch(schedule, /somebody|"r"/);
  });

  test('a bank that fails for most of its items is left in peace: one event each, one probe, and all come back', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const items: number[] = [];
    for (let n = 0; n < 8; n += 1) items.push(await world.connect(BANK, LOGIN));
    bank.answer = () => ({ kind: 'failed', status: 1003, info: 'BANK_IS_DOWN' });
    for (const itemId of items.slice(0, 5)) await ask(world, itemId);
    const circuits = () => world.services.storage.all(sql`select bank_id, domain from bank_circuits`);
    assert.deepEqual(await circuits(), [{ bank_id: BANK, domain: APPLICATION }]);
    const asked = bank.logins.length;
    const before = await countEvents(world);
    await ask(world, items[7]!);
    assert.equal(bank.logins.length, asked);
    assert.deepEqual(await statusesSince(world, before), [{ itemId: items[7]!, status: 1007 }]);

    await advance(world, DAY_MS);
    const probes = bank.logins.slice(asked);
    assert.ok(probes.length >= 5 && probes.length <= 9, `${probes.length} probes in a day`);
    assert.ok(probes.slice(1).every((at, index) => at - probes[index]! >= 15 * MINUTE_MS));
    const told = await statusesSince(world, before);
    assert.deepEqual(new Set(told.map(({ status }) => status)), new Set([1007]));
    // One at its transition; more only for those that were asked as probes.
    assert.ok(told.length <= items.length + probes.length, `${told.length} events`);
    for (const itemId of items) assert.equal((await itemOf(world, itemId)).status, 1007);

    bank.answer = () => null;
    await advance(world, 5 * HOUR_MS);
    assert.deepEqual(await circuits(), []);
    for (const itemId of items) assert.equal((await itemOf(world, itemId)).status, 0, `item ${itemId}`);
  });

  test('a bank that fails for all accounts of most items is left in peace; one account of several says nothing of it', async (t) => {
    const bank = drivenBank({ callsPerDay: null });
    const world = await start(t, bank);
    const items: number[] = [];
    for (let n = 0; n < 6; n += 1) items.push(await world.connect(BANK, LOGIN));
    const circuits = () => world.services.storage.all(sql`select bank_id from bank_circuits`);
    const down: Failure = { kind: 'failed', status: 1003, info: 'BANK_IS_DOWN' };
    bank.fail = (account) => (account === 'one' ? down : null);
    for (const itemId of items) await ask(world, itemId);
    assert.deepEqual(await circuits(), []);

    bank.fail = () => down;
    for (const itemId of items) await ask(world, itemId);
    assert.deepEqual(await circuits(), [{ bank_id: BANK }]);
    const asked = bank.logins.length;
    const before = await countEvents(world);
    await ask(world, items[0]!);
    assert.equal(bank.logins.length, asked);
    assert.deepEqual(await statusesSince(world, before), [{ itemId: items[0]!, status: 1007 }]);

    bank.fail = () => null;
    await advance(world, 5 * HOUR_MS);
    assert.deepEqual(await circuits(), []);
    for (const itemId of items) assert.equal((await itemOf(world, itemId)).status, 0, `item ${itemId}`);
  });

  test('one account of two that fails for days is tried again alone, and costs the other neither its slots nor its quota', async (t) => {
    const bank = drivenBank({ fullRefreshDays: null });
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    await advance(world, 2 * DAY_MS);
    const slots = slotsOf(itemId, START + 2 * DAY_MS, START + 9 * DAY_MS);
    bank.fetches.length = 0;
    bank.fail = (account) => (account === 'two' ? { kind: 'failed', status: 1003, info: null } : null);
    await advance(world, 7 * DAY_MS - HOUR_MS);
    const of = (handle: string) => bank.fetches.filter(({ account }) => account === handle).map(({ at }) => at);
    assert.deepEqual(of('one'), slots);
    assert.ok(of('two').length > 7 && of('two').length <= 7 * 3, `${of('two').length} calls for the one that fails`);
    assert.equal((await itemOf(world, itemId)).status, 1003);
    const schedule = (await readItemSchedule(world.services, APPLICATION, itemId, world.clock.now()))!;
    assert.ok(schedule.failuresInARow >= 14);
  });

  test('an account that failed is tried again within 15 minutes, and the refresh says what it left alone', async (t) => {
    const bank = drivenBank({ fullRefreshDays: null, callsPerDay: null });
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    bank.fail = (account) => (account === 'two' ? { kind: 'failed', status: 1003, info: null } : null);
    await ask(world, itemId);
    bank.fetches.length = 0;
    bank.fail = () => null;
    const before = await countEvents(world);
    const accounts = () => world.services.storage.all<{ name: string; status: number; at: number }>(updatedAccounts(itemId));
    const stood = await accounts();
    await advance(world, 15 * MINUTE_MS);
    assert.deepEqual(
      bank.fetches.map(({ account }) => account),
      ['two'],
    );
    assert.deepEqual(await statusesSince(world, before), [{ itemId, status: 0 }]);
    const [one, two] = await accounts();
    assert.deepEqual(one, stood[0], 'what was not asked is as old as it was');
    assert.deepEqual([two!.status, two!.at > stood[1]!.at], [0, true]);
    const { record } = (await world.services.storage.first<{ record: string }>(
      sql`select record from refreshes where item_id = ${itemId} order by started_at desc, id desc limit 1`,
    ))!;
    const notes = (JSON.parse(record) as RefreshRecord).accounts;
    assert.deepEqual(notes[0]!.answered, { spared: true, because: 'answered' });
    assert.match(explainAccount(notes[0]!, null).join(' '), /had answered last time/);
  });

  test('a bank that wishes to be left in peace at the login is, whoever asks but the user', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    await advance(world, HOUR_MS);
    bank.answer = () => ({ kind: 'failed', status: 1007, info: null, retryAfterMs: 6 * HOUR_MS });
    await ask(world, itemId);
    const until = bank.logins.at(-1)! + 6 * HOUR_MS;
    const logins = bank.logins.length;
    bank.answer = () => null;
    await advance(world, MINUTE_MS);
    await ask(world, itemId);
    assert.deepEqual([bank.logins.length, (await itemOf(world, itemId)).status], [logins, 1007]);
    const schedule = () => readItemSchedule(world.services, APPLICATION, itemId, world.clock.now());
    assert.equal((await schedule())!.nextRefreshPossibleAt, until);
    await ask(world, itemId, 'connect');
    assert.deepEqual([bank.logins.length, (await itemOf(world, itemId)).status], [logins + 1, 0]);
    assert.ok((await schedule())!.nextRefreshPossibleAt! < until, 'and the wish is of the past');
  });

  test('the full history is fetched at once of the accounts for which the bank has no other wish', async (t) => {
    const bank = drivenBank();
    bank.fail = (account) => (account === 'two' ? { kind: 'failed', status: 1003, info: null, retryAfterMs: 6 * HOUR_MS } : null);
    const world = await start(t, bank);
    await world.connect(BANK, LOGIN);
    assert.deepEqual(
      bank.fetches.map(({ account }) => account),
      ['one', 'two', 'one'],
    );
    bank.fail = () => null;
    bank.fetches.length = 0;
    await advance(world, 6 * HOUR_MS - MINUTE_MS);
    assert.deepEqual(bank.fetches, []);
    await advance(world, DAY_MS);
    assert.ok(bank.fetches.some(({ account }) => account === 'two'));
  });

  test('the full history counts as a call without the user, and waits for the next refresh where none is left', async (t) => {
    const bank = drivenBank({ fullRefreshDays: null });
    bank.fail = (account) => (account === 'two' ? { kind: 'failed', status: 1003, info: null } : null);
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    bank.fail = () => null;
    const left = async () =>
      (await readItemSchedule(world.services, APPLICATION, itemId, world.clock.now()))!.quotas!.map((quota) => quota.left.balances.request);
    assert.deepEqual(await left(), [3, 3]);
    while (Math.max(...(await left())) > 0) await ask(world, itemId);
    const { storage } = world.services;
    await storage.transaction((tx) => tx.run(sql`update items set full_refresh_wanted = 1`));
    const completions = async () =>
      (await storage.first<{ count: number }>(sql`select count(*) as count from refreshes where cause = 'completion'`))!.count;
    await ask(world, itemId, 'connect');
    assert.deepEqual([await completions(), (await itemOf(world, itemId)).status], [1, 0]);
    await advance(world, 2 * DAY_MS);
    const { phase } = (await storage.first<{ phase: string }>(
      sql`select phase from refreshes where cause = 'scheduler' order by started_at limit 1`,
    ))!;
    assert.equal(phase, 'full');
    assert.deepEqual(await storage.first(sql`select full_refresh_wanted from items`), { full_refresh_wanted: 0 });
  });

  test('a consent that ends: 1010 at its moment, one event, no call; renewed in time it goes on without a gap', async (t) => {
    const bank = drivenBank();
    let until = START + 20 * DAY_MS;
    bank.answer = () => ({ kind: 'authenticated', session: null, consentExpiresAt: until });
    const world = await start(t, bank);
    const ending = await world.connect(BANK, LOGIN);
    await advance(world, 14 * DAY_MS);
    const notice = await readItemSchedule(world.services, APPLICATION, ending, world.clock.now());
    assert.deepEqual([notice!.consent!.daysLeft, notice!.consent!.noticeDays], [5, 7]);
    until = START + 200 * DAY_MS;
    const renewed = await world.connect(BANK, LOGIN);
    until = START + 20 * DAY_MS;
    bank.answer = () => null;
    await advance(world, 4 * DAY_MS);
    const before = await countEvents(world);
    await advance(world, 4 * DAY_MS);
    const told = (await world.events()).slice(before).filter(({ itemId, type }) => itemId === ending && type === 'item.refreshed');
    const at1010 = told.filter(({ content }) => content.includes('"status_code":1010'));
    assert.equal(at1010.length, 1);
    assert.ok(Math.abs(at1010[0]!.timestamp - until) < MINUTE_MS, new Date(at1010[0]!.timestamp).toISOString());
    assert.equal(told.at(-1), at1010[0]);
    assert.deepEqual(await itemOf(world, ending), { status: 1010, status_code_info: 'OTP_REQUIRED', due_at: null });
    assert.equal((await itemOf(world, renewed)).status, 0);
    const calls = bank.logins.length;
    await ask(world, ending);
    assert.equal(bank.logins.length, calls);
    bank.answer = () => ({ kind: 'authenticated', session: null, consentExpiresAt: START + 210 * DAY_MS });
    await ask(world, ending, 'connect');
    assert.equal((await itemOf(world, ending)).status, 0);
  });

  test('a run whose worker died is run again when its claim has ended, and not before', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    const { services, clock } = world;
    await refreshItem(services, itemId, 'api', 0);
    const claimed = await services.storage.transaction((tx) =>
      claimRefreshes(tx, services.storage, { now: clock.now(), leaseMs: 10 * MINUTE_MS, limit: 1 }),
    );
    assert.equal(claimed.length, 1);
    const before = bank.logins.length;
    await world.run();
    // Another request meanwhile joins the one that seems to run.
    assert.equal((await refreshItem(services, itemId, 'api', 0))!.refreshId, claimed[0]!.id);
    assert.equal(bank.logins.length, before);
    clock.advance(10 * MINUTE_MS);
    await world.run();
    assert.equal(bank.logins.length, before + 1);
  });

  test('an application moves its bands, and its items follow', async (t) => {
    const bank = drivenBank();
    const world = await start(t, bank);
    await world.services.storage.transaction((tx) => tx.run(sql`update applications set refresh_bands = '[[600,660]]'`));
    await world.connect(BANK, LOGIN);
    const before = bank.logins.length;
    await advance(world, 4 * DAY_MS);
    const made = bank.logins.slice(before);
    assert.ok(made.length >= 3 && made.length <= 4, `${made.length}`);
    for (const at of made) assert.ok((at % DAY_MS) / MINUTE_MS >= 600 && (at % DAY_MS) / MINUTE_MS < 660);
  });

  test('what is due is found through the index alone, among any number of items', async (t) => {
    const world = await start(t, drivenBank());
    const { storage } = world.services;
    const row = (id: number) => [id, APPLICATION, USER, BANK, 0, 'key', START + id * 1_000, 0];
    const columns = ['id', 'application_id', 'user_uuid', 'bank_id', 'status', 'data_key_id', 'due_at', 'created_at'];
    await storage.transaction((tx) =>
      tx.insertMany(
        'items',
        columns,
        Array.from({ length: 5_000 }, (_, n) => row(n + 1)),
      ),
    );
    await storage.transaction((tx) => tx.run(engine === 'postgres' ? sql`analyze items` : sql`analyze`));
    const plan = await planOf(storage, dueItemsQuery(START + 50_000));
    assert.match(plan, /items_due/);
    assert.doesNotMatch(plan, engine === 'postgres' ? /Seq Scan on items/ : /SCAN items|TEMP B-TREE/);
  });
});
