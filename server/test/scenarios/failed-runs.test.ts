/** Refreshes that fail by a fault of ours, again and again: the table that reasons of changes are written to is away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS } from '../../src/base/clock.ts';
import type { Connector } from '../../src/connectors/connector.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { RUNS_MAX } from '../../src/refresh/failed-run.ts';
import { readItemSchedule } from '../../src/refresh/schedule/read.ts';
import { runPass } from '../../src/refresh/worker.ts';
import { type Sql, sql } from '../../src/storage/sql.ts';
import { DRIVEN_BANK, drivenBank } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, openRefresh, runToTheEnd, START, type World } from '../support/world.ts';

/** Days since 1970. */
const TODAY = Math.floor(START / DAY_MS);
const LOGIN = { USER: 'somebody', PWD: 'any' };
const AWAY = sql`alter table changes rename to changes_away`;
const BACK = sql`alter table changes_away rename to changes`;

/** The driven bank with a payment that is new to the next refresh. It counts its logins. */
function countingBank(access: Connector['bank']['access'] = {}) {
  const { connector, payments } = drivenBank();
  const bank = {
    logins: 0,
    pay: (minor: number) => payments(LOGIN.USER).push({ account: 'first', day: TODAY, minor, label: 'SHOP', bookedOn: TODAY }),
    connector: {
      ...connector,
      bank: { ...connector.bank, access },
      authenticate: (request, signal) => {
        bank.logins += 1;
        return connector.authenticate(request, signal);
      },
    } satisfies Connector,
  };
  return bank;
}

const change = ({ services: { storage } }: World, statement: Sql) => storage.transaction((tx) => tx.run(statement));
const statusesSince = async (world: World, from: number) =>
  (await world.events()).slice(from).map(({ type, content }) => [type, (JSON.parse(content) as { status_code?: number }).status_code]);
const scheduleOf = async ({ services, clock }: World, itemId: number) =>
  (await readItemSchedule(services, APPLICATION, itemId, clock.now()))!;

eachEngine('a refresh that fails by a fault of ours', (open) => {
  test('runs again some times, then ends with 1003 and its event, and the next one heals', async (t) => {
    const bank = countingBank({ callsPerDay: null });
    const world = await createWorld(await open(t), [bank.connector]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const [connected, told] = [bank.logins, (await world.events()).length];
    bank.pay(-500);
    await change(world, AWAY);
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    assert.equal((await openRefresh(world))!.failed_runs, 1);
    assert.equal((await scheduleOf(world, itemId)).loginsIn24h, bank.logins, 'the login counts before the refresh has ended');

    await runToTheEnd(world);
    assert.equal(bank.logins - connected, RUNS_MAX);
    assert.deepEqual(await statusesSince(world, told), [['item.refreshed', 1003]]);
    const { loginsIn24h, failuresInARow, nextRefreshAt } = await scheduleOf(world, itemId);
    assert.deepEqual([loginsIn24h, failuresInARow], [bank.logins, 1]);
    assert.ok(nextRefreshAt !== null);

    await change(world, BACK);
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    assert.deepEqual((await statusesSince(world, told)).slice(1), [
      ['item.account.updated', undefined],
      ['item.refreshed', 0],
    ]);
    assert.equal((await scheduleOf(world, itemId)).failuresInARow, 0);
  });

  test("never logs in more often than its bank's daily cap allows", async (t) => {
    const bank = countingBank({ callsPerDay: null, loginsPerDay: 4 });
    const world = await createWorld(await open(t), [bank.connector]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    assert.equal(bank.logins, 2, 'the first data, and the history');
    const told = (await world.events()).length;
    bank.pay(-500);
    await change(world, AWAY);
    await refreshItem(world.services, itemId, 'api');
    await runToTheEnd(world);
    assert.equal(bank.logins, 4);
    assert.deepEqual(await statusesSince(world, told), [['item.refreshed', 1007]]);
  });

  test('is not held against a server that stops, but its login is counted', async (t) => {
    const stops = new AbortController();
    const bank = countingBank({ callsPerDay: null });
    const { fetchAccount } = bank.connector;
    const world = await createWorld(await open(t), [
      {
        ...bank.connector,
        fetchAccount: (request, signal) => {
          if (bank.logins > 2) stops.abort(new Error('the server stops'));
          return fetchAccount(request, signal);
        },
      },
    ]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    await refreshItem(world.services, itemId, 'api');
    await runPass(world.services, APPLICATION, stops.signal);
    assert.equal((await openRefresh(world))!.failed_runs, 0);
    assert.equal((await scheduleOf(world, itemId)).loginsIn24h, bank.logins);
  });

  test('ends in the same way where its beginning cannot be read, asks no bank by that, and heals', async (t) => {
    const bank = countingBank({ callsPerDay: null });
    const world = await createWorld(await open(t), [bank.connector]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    const [connected, told] = [bank.logins, (await world.events()).length];
    await change(world, sql`update items set schedule = 'no JSON' where id = ${itemId}`);
    await refreshItem(world.services, itemId, 'api');
    await runToTheEnd(world);
    assert.deepEqual(await statusesSince(world, told), [['item.refreshed', 1003]]);
    assert.equal(bank.logins, connected);
    assert.equal((await scheduleOf(world, itemId)).failuresInARow, 1);
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    assert.deepEqual((await statusesSince(world, told)).slice(1), [['item.refreshed', 0]]);
  });

  test('ends where the credentials that the bank has refused cannot be read any more, and they stay refused', async (t) => {
    const bank = countingBank({ callsPerDay: null });
    let refuses = false;
    const { authenticate } = bank.connector;
    const world = await createWorld(await open(t), [
      {
        ...bank.connector,
        authenticate: async (request, signal) => (refuses ? { kind: 'failed', status: 402, info: null } : authenticate(request, signal)),
      },
    ]);
    const itemId = await world.connect(DRIVEN_BANK, LOGIN);
    refuses = true;
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    const told = (await world.events()).length;
    assert.equal((await scheduleOf(world, itemId)).credentialsRefused, true);
    const refusedBy = async () =>
      (JSON.parse((await world.services.storage.first<{ schedule: string }>(sql`select schedule from items`))!.schedule) as { r?: string })
        .r;
    const before = await refusedBy();
    assert.ok(before);
    await change(world, sql`update items set credentials = ${`v1.${'A'.repeat(80)}`} where id = ${itemId}`);
    await refreshItem(world.services, itemId, 'api');
    await runToTheEnd(world);
    assert.deepEqual(await statusesSince(world, told), [['item.refreshed', 1003]]);
    assert.equal(await refusedBy(), before);
  });

  test('keeps no other one that is due from its turn', async (t) => {
    const bank = countingBank({ callsPerDay: null });
    const world = await createWorld(await open(t), [bank.connector]);
    const broken = await world.connect(DRIVEN_BANK, LOGIN);
    const well = await world.connect(DRIVEN_BANK, { ...LOGIN, USER: 'somebody else' });
    const told = (await world.events()).length;
    await change(world, sql`update items set schedule = '[' where id = ${broken}`);
    await change(world, sql`update applications set refresh_bands = '[['`);
    await change(world, sql`update items set due_at = ${world.clock.now()}`);
    await world.run();
    const ended = (await world.events()).slice(told).map(({ type, itemId }) => [type, itemId]);
    assert.deepEqual(ended, [['item.refreshed', well]]);
  });
});
