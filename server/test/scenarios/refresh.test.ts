/** A bank connected and refreshed through days: which events come, in which order, and that their counts are true. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import type { Connector, Observation } from '../../src/connectors/connector.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import type { LoggedEvent } from '../../src/events/log.ts';
import { claimRefreshes } from '../../src/items/refreshes.ts';
import { readBeginning } from '../../src/refresh/beginning.ts';
import { answerRefresh, connectItem, refreshItem } from '../../src/refresh/connection.ts';
import type { RunTogether } from '../../src/refresh/context.ts';
import { createEndings } from '../../src/refresh/endings.ts';
import { runRefresh } from '../../src/refresh/run.ts';
import { advanceClock } from '../../src/refresh/test-clock/test-clock.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { rowsToCompare } from '../../src/transactions/transactions.ts';
import { eraseItem } from '../../src/upkeep/erasure.ts';
import { DRIVEN_BANK, drivenBank } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, USER, type World } from '../support/world.ts';

const DEMO = 574;
const login = (USER: string) => ({ USER, PWD: 'any' });
const typesOf = (events: readonly LoggedEvent[]) => events.map(({ type }) => type);
const contentOf = (event: LoggedEvent) => JSON.parse(event.content) as Record<string, unknown>;

async function world(open: Promise<Parameters<typeof createWorld>[0]>): Promise<World> {
  return createWorld(await open, [demoBank({ latencyMs: 0 })]);
}

type Counts = { created: number; updated: number; deleted: number };

function countsOf(event: LoggedEvent): Counts {
  const content = contentOf(event);
  return {
    created: Number(content.nb_new_transactions),
    updated: Number(content.nb_updated_transactions),
    deleted: Number(content.nb_deleted_transactions),
  };
}

/** The rows of the event's account that carry its timestamp, by what happened to them. */
async function rowsCarrying(storage: Storage, { accountId, timestamp }: LoggedEvent): Promise<Counts> {
  const rows = await storage.all<{ created_at: number; is_deleted: number }>(
    sql`select created_at, is_deleted from transactions where account_id = ${accountId} and updated_at = ${timestamp}`,
  );
  const deleted = rows.filter((row) => row.is_deleted === 1).length;
  const created = rows.filter((row) => row.is_deleted === 0 && row.created_at === timestamp).length;
  return { created, updated: rows.length - created - deleted, deleted };
}

eachEngine('refresh', (open) => {
  test('a first connection: created, accounts, their rows, refreshed; then the full history', async (t) => {
    const { connect, events } = await world(open(t));
    await connect(DEMO, login('success'));
    const types = typesOf(await events());
    assert.equal(types[0], 'item.created');
    const first = types.indexOf('item.refreshed');
    const created = types.filter((type) => type === 'item.account.created').length;
    assert.ok(created >= 10);
    assert.deepEqual(types.slice(1, 1 + created), Array(created).fill('item.account.created'));
    assert.ok(types.slice(1 + created, first).every((type) => type === 'item.account.updated'));
    assert.ok(types.slice(first + 1, -1).every((type) => type === 'item.account.updated'));
    const refreshed = (await events()).filter(({ type }) => type === 'item.refreshed').map(contentOf);
    assert.deepEqual(
      refreshed.map(({ full_refresh, status_code, status_code_info }) => [full_refresh, status_code, status_code_info]),
      [
        [false, 0, 'OK'],
        [true, 0, 'OK'],
      ],
    );
  });

  test('a fortnight of days brings all five kinds, and every count equals the rows that carry its timestamp', async (t) => {
    const { connect, events, clock, run, services } = await world(open(t));
    await connect(DEMO, login('success'));
    const seenBefore = async () => (await events()).length;
    for (let halfDay = 0; halfDay < 32; halfDay += 1) {
      const before = await seenBefore();
      clock.advance(12 * HOUR_MS + 31 * MINUTE_MS);
      await run();
      // At once: a row that changes again later carries the later timestamp.
      for (const event of (await events()).slice(before)) {
        if (event.type === 'item.account.updated') assert.deepEqual(countsOf(event), await rowsCarrying(services.storage, event));
      }
    }
    const all = await events();
    const seen = new Set(typesOf(all));
    assert.deepEqual([...seen].sort(), [
      'item.account.created',
      'item.account.deleted',
      'item.account.updated',
      'item.created',
      'item.refreshed',
    ]);
    const total = { created: 0, updated: 0, deleted: 0 };
    for (const event of all.filter(({ type }) => type === 'item.account.updated')) {
      const counts = countsOf(event);
      total.created += counts.created;
      total.updated += counts.updated;
      total.deleted += counts.deleted;
    }
    assert.ok(total.updated > 0 && total.deleted > 0, JSON.stringify(total));
    const rows = await services.storage.first<{ live: number; gone: number }>(sql`
      select sum(case when is_deleted = 0 then 1 else 0 end) as live, sum(is_deleted) as gone from transactions`);
    assert.equal(Number(rows!.live) + Number(rows!.gone), total.created);
    const back = all.findIndex(({ type }) => type === 'item.account.deleted');
    const accountId = all[back]!.accountId;
    const after = all.slice(back + 1).filter((event) => event.accountId === accountId);
    assert.ok(after.length > 0 && after.every(({ type }) => type === 'item.account.updated'), 'it returns as updated, never as created');
  });

  test('the balance of every account is what its rows sum to in the change of each day', async (t) => {
    const { connect, clock, run, services } = await world(open(t));
    const itemId = await connect(DEMO, login('success'));
    clock.advance(13 * HOUR_MS);
    await run();
    const record = await services.storage.first<{ record: string }>(
      sql`select record from refreshes where item_id = ${itemId} order by started_at desc, id desc limit 1`,
    );
    const notes = (JSON.parse(record!.record) as { accounts: { balance: { explained: boolean } }[] }).accounts;
    assert.ok(notes.length > 0 && notes.every(({ balance }) => balance.explained));
  });

  test("a clean label follows the bank's where that changes", async (t) => {
    const storage = await open(t);
    const { connector, payments } = drivenBank();
    const world = await createWorld(storage, [connector]);
    const today = Math.floor(world.clock.now() / DAY_MS);
    payments('any').push({ account: 'first', day: today, minor: -250, label: 'CAFE DU PARC', bookedOn: today + 1 });
    await world.connect(DRIVEN_BANK, { USER: 'any', PWD: 'any' });
    const labels = () => storage.first(sql`select bank_description, clean_description from transactions`);
    assert.deepEqual(await labels(), { bank_description: 'CAFE DU PARC', clean_description: 'Cafe Du Parc' });
    await advanceClock(world.services, APPLICATION, { byMs: 2 * DAY_MS }, { signal: new AbortController().signal });
    assert.deepEqual(await labels(), { bank_description: 'CARD CAFE DU PARC', clean_description: 'Card Cafe Du Parc' });
  });

  test('a row is shown to clients or not as the bank says of it now: of a deferred card, until the linked account has it', async (t) => {
    const storage = await open(t);
    const { connector, payments } = drivenBank();
    const hidden = { booked: true };
    const card: Connector = {
      ...connector,
      fetchAccount: async (...asked) => {
        const fetched = await connector.fetchAccount(...asked);
        if (fetched.kind === 'failed') return fetched;
        const stated = (row: Observation): Observation =>
          row.status === 'booked' && hidden.booked ? { ...row, showClientSide: false } : row;
        return { ...fetched, batches: fetched.batches.map((batch) => ({ ...batch, observations: batch.observations.map(stated) })) };
      },
    };
    const world = await createWorld(storage, [card]);
    const today = Math.floor(world.clock.now() / DAY_MS);
    const payment = { account: 'first' as const, day: today, minor: -250, label: 'CAFE DU PARC', bookedOn: today + 1 };
    payments('any').push(payment);
    await world.connect(DRIVEN_BANK, { USER: 'any', PWD: 'any' });
    const shown = () => storage.first(sql`select show_client_side, category_id, is_deleted from transactions`);
    assert.deepEqual(await shown(), { show_client_side: 1, category_id: 1, is_deleted: 0 });
    const advance = (byMs: number) => advanceClock(world.services, APPLICATION, { byMs }, { signal: new AbortController().signal });
    await advance(2 * DAY_MS);
    assert.deepEqual(await shown(), { show_client_side: 0, category_id: 1, is_deleted: 0 });
    // The bank says nothing of it any more when it goes.
    payments('any').length = 0;
    await advance(2 * DAY_MS);
    assert.deepEqual(await shown(), { show_client_side: 0, category_id: 1, is_deleted: 1 });
    hidden.booked = false;
    payments('any').push(payment);
    await advance(DAY_MS);
    assert.deepEqual(await shown(), { show_client_side: 1, category_id: 1, is_deleted: 0 });
  });

  test('asking again at the same moment changes nothing and says only refreshed', async (t) => {
    const { connect, events, clock, run, services } = await world(open(t));
    const itemId = await connect(DEMO, login('success'));
    const before = (await events()).length;
    clock.advance(1_000);
    const [first, second] = await Promise.all([refreshItem(services, itemId, 'api'), refreshItem(services, itemId, 'api')]);
    assert.equal(first!.refreshId, second!.refreshId);
    await run();
    assert.deepEqual(typesOf((await events()).slice(before)), ['item.refreshed']);
  });

  for (const [name, status] of [
    ['402', 402],
    ['429', 429],
    ['1003', 1003],
    ['1005_CLOSED_ACCOUNT', 1005],
  ] as const) {
    test(`login ${name}: one item.refreshed ${status}, and no data`, async (t) => {
      const { connect, events, services } = await world(open(t));
      const itemId = await connect(DEMO, login(name));
      const all = await events();
      assert.deepEqual(typesOf(all), ['item.created', 'item.refreshed']);
      assert.equal(contentOf(all[1]!).status_code, status);
      assert.equal(typeof contentOf(all[1]!).status_code_info, 'string');
      assert.equal((await services.storage.first<{ status: number }>(sql`select status from items where id = ${itemId}`))!.status, status);
    });
  }

  test('a code asked and never given: item.refreshed 1010 when the challenge expires', async (t) => {
    const { connect, events, clock, run } = await world(open(t));
    await connect(DEMO, login('otp'));
    assert.deepEqual(typesOf(await events()), ['item.created']);
    clock.advance(HOUR_MS);
    await run();
    const all = await events();
    assert.deepEqual(typesOf(all), ['item.created', 'item.refreshed']);
    assert.equal(contentOf(all[1]!).status_code, 1010);
  });

  test('credentials that come while the item is refreshed for another reason are refused, not lost', async (t) => {
    const { connect, session, events, services } = await world(open(t));
    const itemId = await connect(DEMO, login('success'));
    const before = (await events()).length;
    await refreshItem(services, itemId, 'api');
    const sessionId = await session();
    await services.storage.transaction((tx) => tx.run(sql`update connect_sessions set item_id = ${itemId} where id = ${sessionId}`));
    const request = { sessionId, applicationId: APPLICATION, userUuid: USER, bankId: DEMO, credentials: login('402'), clockOffsetMs: 0 };
    const credentials = () => services.storage.first<{ credentials: string }>(sql`select credentials from items where id = ${itemId}`);
    const kept = await credentials();
    assert.equal(await connectItem(services, request), 'busy');
    assert.deepEqual(await credentials(), kept);
    assert.equal((await events()).length, before);
  });

  test('credentials that come when the item of their session has been erased are kept nowhere', async (t) => {
    const { connect, session, events, services } = await world(open(t));
    const { storage, vault, clock } = services;
    const itemId = await connect(DEMO, login('success'));
    const sessionId = await session();
    await storage.transaction((tx) => tx.run(sql`update connect_sessions set item_id = ${itemId} where id = ${sessionId}`));
    await eraseItem({ storage, vault, now: clock.now() }, itemId);
    const told = (await events()).length;
    const request = {
      sessionId,
      applicationId: APPLICATION,
      userUuid: USER,
      bankId: DEMO,
      credentials: login('success'),
      clockOffsetMs: 0,
    };
    assert.equal(await connectItem(services, request), 'gone');
    assert.deepEqual(await storage.all(sql`select id from items`), []);
    assert.deepEqual(await storage.all(sql`select id from data_keys`), []);
    assert.equal((await events()).length, told);
  });

  test('a manual synchronization with a full refresh wanted still asks the user for the code', async (t) => {
    const { connect, events, services, run } = await world(open(t));
    const itemId = await connect(DEMO, login('otp'));
    const waiting = () => services.storage.first<{ id: string }>(sql`select id from refreshes where state = 'info_required'`);
    await answerRefresh(services, (await waiting())!.id, itemId, '1');
    await run();
    await services.storage.transaction((tx) => tx.run(sql`update items set full_refresh_wanted = 1 where id = ${itemId}`));
    await services.storage.transaction((tx) => tx.run(sql`update refreshes set finished_at = 1 where finished_at is null`));
    const before = (await events()).length;
    await refreshItem(services, itemId, 'connect');
    await run();
    assert.ok(await waiting());
    await answerRefresh(services, (await waiting())!.id, itemId, '1');
    await run();
    const last = contentOf((await events()).slice(before).at(-1)!);
    assert.deepEqual([last.status_code, last.full_refresh], [0, true]);
  });

  test('a code given: the accounts come, and later refreshes need no user', async (t) => {
    const { connect, events, clock, run, services } = await world(open(t));
    const itemId = await connect(DEMO, login('otp'));
    const waiting = await services.storage.first<{ id: string }>(sql`select id from refreshes where state = 'info_required'`);
    assert.ok(await answerRefresh(services, waiting!.id, itemId, '123456'));
    await run();
    clock.advance(5_000);
    await run();
    clock.advance(13 * HOUR_MS);
    await run();
    const refreshed = (await events()).filter(({ type }) => type === 'item.refreshed').map(contentOf);
    assert.deepEqual(
      refreshed.map(({ status_code, full_refresh }) => [status_code, full_refresh]),
      [
        [0, false],
        [0, true],
        [0, false],
      ],
    );
  });

  test('logins joined by a point are the outcomes of successive refreshes', async (t) => {
    const { connect, events, clock, run } = await world(open(t));
    await connect(DEMO, login('success.1010'));
    clock.advance(13 * HOUR_MS);
    await run();
    const refreshed = (await events()).filter(({ type }) => type === 'item.refreshed').map(contentOf);
    assert.deepEqual(
      refreshed.map(({ status_code }) => status_code),
      [0, 0, 1010],
    );
  });

  test('a refresh that is fenced off writes nothing', async (t) => {
    const { connect, events, clock, run, services } = await world(open(t));
    const itemId = await connect(DEMO, login('success'));
    clock.advance(25 * HOUR_MS);
    await refreshItem(services, itemId, 'api');
    const claim = () =>
      services.storage.transaction((tx) => claimRefreshes(tx, services.storage, { now: clock.now(), leaseMs: 1, limit: 1 }));
    const [stale] = await claim();
    clock.advance(2);
    const [fresh] = await claim();
    assert.equal(stale!.id, fresh!.id);
    const before = (await events()).length;
    const together: RunTogether = {
      beginning: () => readBeginning(services.storage, itemId),
      rowsToCompare: (accounts, deletedAfter) => rowsToCompare(services.storage, accounts, deletedAfter),
      endings: createEndings(services.storage),
      signal: new AbortController().signal,
    };
    await runRefresh(services, stale!, together);
    assert.equal((await events()).length, before);
    await runRefresh(services, fresh!, together);
    assert.equal((await events()).at(-1)!.type, 'item.refreshed');
    await run();
  });
});
