/** A bank that suddenly lacks most rows: they are held, and deleted once the operator has looked and released them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS } from '../../src/base/clock.ts';
import type { Connector } from '../../src/connectors/connector.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { sql } from '../../src/storage/sql.ts';
import { DRIVEN_BANK, drivenBank, type Payment } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { managementOf } from '../support/management.ts';
import { createWorld, START } from '../support/world.ts';

const TODAY = Math.floor(START / DAY_MS);
const ROWS = 12;
const PAYMENTS = Array.from({ length: ROWS }, (_, at): Payment => {
  return { account: 'first', day: TODAY - at, minor: -1_000 - at, label: `SHOP ${at}`, bookedOn: TODAY - at };
});

type Released = { account_id: number; held: number; released_at: string };
type Refresh = { accounts: { account_id: number; deleted: number; explanation: string[] }[] };

eachEngine('the breaker of mass deletions', (open) => {
  /** An item whose bank has lacked all its rows in two lists, so that the breaker holds them. */
  async function begin(t: Parameters<typeof open>[0]) {
    const bank = drivenBank();
    const during: { next: (() => Promise<void>) | null } = { next: null };
    const connector: Connector = {
      ...bank.connector,
      fetchAccount: async (...asked) => {
        if (during.next === null) return bank.connector.fetchAccount(...asked);
        await during.next();
        return { kind: 'failed', status: 1003, info: null };
      },
    };
    const world = await createWorld(await open(t), [connector]);
    const { storage } = world.services;
    const call = managementOf(world);
    bank.payments('one').push(...PAYMENTS);
    const itemId = await world.connect(DRIVEN_BANK, { USER: 'one', PWD: 'any' });
    const refresh = async (afterMs: number) => {
      world.clock.advance(afterMs);
      await refreshItem(world.services, itemId, 'api');
      await world.run();
      const { refreshes } = await call<{ refreshes: { id: string }[] }>(200, 'GET', `/api/v1/items/${itemId}/refreshes?limit=1`);
      return call<Refresh>(200, 'GET', `/api/v1/refreshes/${refreshes[0]!.id}`);
    };
    const live = async () => (await storage.all(sql`select id from transactions where is_deleted = 0`)).length;
    const account = (await storage.first<{ account_id: number }>(sql`select account_id from transactions limit 1`))!.account_id;
    const path = `/api/v1/accounts/${account}/breaker/release`;
    await refresh(12 * HOUR_MS);
    await call(409, 'POST', path, {});
    bank.silent = true;
    await refresh(12 * HOUR_MS);
    const held = await refresh(12 * HOUR_MS);
    assert.equal(await live(), ROWS);
    return { bank, world, storage, call, during, refresh, live, account, path, held };
  }

  test('without a release the rows stay, and the explanation names the command', async (t) => {
    const { refresh, live, account, held } = await begin(t);
    const told = held.accounts.find(({ account_id: id }) => id === account)!.explanation.join(' ');
    assert.match(told, /The breaker holds the deletion of 12 rows;/);
    assert.ok(told.includes(`npx pontage account release ${account}`), told);
    const stayed = await refresh(HOUR_MS);
    assert.equal(stayed.accounts.find(({ account_id: id }) => id === account)!.deleted, 0);
    assert.equal(await live(), ROWS);
  });

  test('what the operator releases is deleted and counted by the next refresh', async (t) => {
    const { world, call, refresh, live, account, path } = await begin(t);
    const released = await call<Released>(200, 'POST', path, {});
    assert.deepEqual([released.account_id, released.held], [account, ROWS]);
    world.clock.advance(60_000);
    assert.deepEqual(await call(200, 'POST', path), released, 'given again, it is the same release');
    const gone = await refresh(HOUR_MS);
    assert.equal(gone.accounts.find(({ account_id: id }) => id === account)!.deleted, ROWS);
    assert.equal(await live(), 0);
    const counted = (await world.events()).filter(({ type }) => type === 'item.account.updated').at(-1)!;
    assert.match(counted.content, /"nb_deleted_transactions":12/);
    await call(409, 'POST', path, {});
  });

  test('a refresh that runs while the operator decides does not lose his word', async (t) => {
    const { call, during, refresh, live, path } = await begin(t);
    during.next = async () => {
      during.next = async () => {};
      await call(200, 'POST', path, {});
    };
    await refresh(HOUR_MS);
    assert.equal(await live(), ROWS, 'it had begun before');
    during.next = null;
    await refresh(HOUR_MS);
    assert.equal(await live(), 0);
  });

  test('a release is for what is held: once the rows are back, the next mass deletion is held again', async (t) => {
    const { bank, call, refresh, live, path } = await begin(t);
    await call(200, 'POST', path, {});
    bank.silent = false;
    await refresh(HOUR_MS);
    await call(409, 'POST', path, {});
    bank.silent = true;
    await refresh(12 * HOUR_MS);
    await refresh(12 * HOUR_MS);
    assert.equal(await live(), ROWS);
    await call(200, 'POST', path, {});
    await refresh(HOUR_MS);
    assert.equal(await live(), 0);
  });

  test("another application's account does not exist", async (t) => {
    const { storage, call, path } = await begin(t);
    await call(404, 'POST', '/api/v1/accounts/1/breaker/release', {});
    await storage.transaction(async (tx) => {
      await tx.run(sql`
        insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
        values ('another', 'another', 'sandbox', 'another', 'digest', ${START})`);
      await tx.run(sql`update items set application_id = 'another'`);
    });
    await call(404, 'POST', path, {});
  });
});
