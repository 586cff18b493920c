/** Banks, logins and accounts that fail: when they are tried again, and what they cost the others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import { DEFAULT_ACCESS, DEFAULT_BANDS } from '../../src/connectors/access.ts';
import type { Failure } from '../../src/connectors/connector.ts';
import { connectItem } from '../../src/refresh/connection.ts';
import { explainAccount } from '../../src/refresh/explain.ts';
import type { RefreshRecord } from '../../src/refresh/record.ts';
import { readItemSchedule } from '../../src/refresh/schedule/read.ts';
import { slotsOfDay } from '../../src/refresh/schedule/slots.ts';
import { sql } from '../../src/storage/sql.ts';
import { eachEngine } from '../support/engines.ts';
import { advance, ask, BANK, countEvents, itemOf, LOGIN, offset, statusesSince, type ToldBank, toldBank } from '../support/told-bank.ts';
import { APPLICATION, createWorld, START, USER } from '../support/world.ts';

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

eachEngine('a bank that fails', (open) => {
  const start = async (t: Parameters<typeof open>[0], bank: ToldBank) => createWorld(await open(t), [bank.connector]);

  test('a spent quota: the bank is not asked, the item shows 1007 and heals by itself when the quota is free', async (t) => {
    const bank = toldBank();
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
    const bank = toldBank();
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

  for (const [what, status] of [
    ['is suspended', 1007],
    ['is not supported', 1005],
  ] as const) {
    test(`an account that ${what} for hours is not asked before they are over, the longest of all`, async (t) => {
      const bank = toldBank({ callsPerDay: null });
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
    const bank = toldBank();
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
    const bank = toldBank();
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
    const bank = toldBank({ callsPerDay: null });
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
    const bank = toldBank({ fullRefreshDays: null });
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
    const bank = toldBank({ fullRefreshDays: null, callsPerDay: null });
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
    const bank = toldBank();
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
    const bank = toldBank();
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
});
