/** The scheduler through days, with a bank that the test drives: when it is asked, how often, and what its items show. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import { claimRefreshes } from '../../src/items/refreshes.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { dueItemsQuery } from '../../src/refresh/schedule/due.ts';
import { readItemSchedule } from '../../src/refresh/schedule/read.ts';
import { type Sql, sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { eachEngine } from '../support/engines.ts';
import { advance, ask, BANK, countEvents, itemOf, LOGIN, statusesSince, type ToldBank, toldBank } from '../support/told-bank.ts';
import { APPLICATION, createWorld, START, USER } from '../support/world.ts';

/** The whole plan of a statement, as text. */
async function planOf(storage: Storage, query: Sql): Promise<string> {
  const prefix = storage.engine === 'sqlite' ? 'explain query plan ' : 'explain ';
  const strings = [prefix + query.strings[0], ...query.strings.slice(1)];
  return JSON.stringify(await storage.all({ strings, values: query.values, key: null }));
}

eachEngine('the scheduler', (open, engine) => {
  const start = async (t: Parameters<typeof open>[0], bank: ToldBank) => createWorld(await open(t), [bank.connector]);

  test('two logins a day, and never more calls than the quota in any 24 hours, however often the API asks', async (t) => {
    const bank = toldBank();
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

  test('an item whose bank is not known for a while is tried once a week, and heals when it is known again', async (t) => {
    const bank = toldBank();
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
    const bank = toldBank();
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

  test('the full history counts as a call without the user, and waits for the next refresh where none is left', async (t) => {
    const bank = toldBank({ fullRefreshDays: null });
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
    const bank = toldBank();
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
    const bank = toldBank();
    const world = await start(t, bank);
    const itemId = await world.connect(BANK, LOGIN);
    const { services, clock } = world;
    await refreshItem(services, itemId, 'api');
    const claimed = await services.storage.transaction((tx) =>
      claimRefreshes(tx, services.storage, { now: clock.now(), leaseMs: 10 * MINUTE_MS, limit: 1 }),
    );
    assert.equal(claimed.length, 1);
    const before = bank.logins.length;
    await world.run();
    // Another request meanwhile joins the one that seems to run.
    assert.equal((await refreshItem(services, itemId, 'api'))!.refreshId, claimed[0]!.id);
    assert.equal(bank.logins.length, before);
    clock.advance(10 * MINUTE_MS);
    await world.run();
    assert.equal(bank.logins.length, before + 1);
  });

  test('an application moves its bands, and its items follow', async (t) => {
    const bank = toldBank();
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
    const world = await start(t, toldBank());
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
