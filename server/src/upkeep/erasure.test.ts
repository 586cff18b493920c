import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { MINUTE_MS } from '../base/clock.ts';
import { sql, sqlText } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { createVault, deriveWrappingKey } from '../vault/vault.ts';
import { eraseItem, eraseUser, findErasure, resumeErasures } from './erasure.ts';
import { findBrokenOff, ROWS_PER_STEP } from './thinning.ts';

const wrappingKey = deriveWrappingKey('a wrapping key of the tests, long enough');
const vault = createVault(() => ({ current: wrappingKey, all: [wrappingKey] }));
const PLACE = { table: 'items', column: 'credentials', id: 1 };
const TABLES = ['users', 'items', 'accounts', 'transactions', 'refreshes', 'connect_sessions', 'access_tokens', 'data_keys'] as const;

async function count(storage: Storage): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const table of TABLES) counts[table] = (await storage.first<{ n: number }>(sql`select count(*) as n from ${sqlText(table)}`))!.n;
  return counts;
}

/** Two items of one user, each with an account, a transaction and a refresh. */
async function seed(storage: Storage): Promise<{ sealed: string; key: string }> {
  return storage.transaction(async (tx) => {
    await tx.run(sql`
      insert into applications (id, name, environment, client_id, client_secret_digest, created_at) values ('app', 'Shop', 'sandbox', 'c', 'd', 1)`);
    await tx.run(sql`insert into users (uuid, application_id, created_at) values ('u', 'app', 1)`);
    await tx.run(sql`insert into access_tokens (digest, application_id, user_uuid, expires_at) values ('t', 'app', 'u', 1)`);
    const keys: string[] = [];
    for (const id of [1, 2]) {
      const key = await vault.createKey(tx, 1);
      keys.push(key);
      await tx.run(sql`
        insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, created_at) values (${id}, 'app', 'u', 574, 0, ${key}, 1)`);
      await tx.run(sql`
        insert into accounts (id, item_id, user_uuid, bank_id, name, type, currency, created_at, updated_at)
        values (${id}, ${id}, 'u', 574, 'A', 'checking', 'EUR', 1, 1)`);
      await tx.run(sql`
        insert into transactions (id, account_id, user_uuid, status, amount_minor, amount_exponent, currency, date, date_source,
          bank_description, clean_description, category_id, created_at, updated_at)
        values (${id}, ${id}, 'u', 'booked', 1, 2, 'EUR', '2023-07-26', 'booking', 'x', 'x', 1, 1, 1)`);
      await tx.run(sql`
        insert into refreshes (id, item_id, application_id, user_uuid, cause, state, phase, run_at, started_at)
        values (${`r${id}`}, ${id}, 'app', 'u', 'api', 'retrieving_data', 'full', 1, 1)`);
      await tx.run(sql`
        insert into connect_sessions (id, application_id, user_uuid, purpose, item_id, step, link_expires_at, created_at)
        values (${`s${id}`}, 'app', 'u', 'add', ${id}, 'list_banks', 1, 1)`);
    }
    return { key: keys[0]!, sealed: await vault.seal(tx, keys[0]!, PLACE, 'secret') };
  });
}

eachEngine('erasure', (open) => {
  test('an item goes with all that is its own, and its secrets open no more', async (t) => {
    const storage = await open(t);
    const { key, sealed } = await seed(storage);
    assert.equal(await vault.open(storage, key, PLACE, sealed), 'secret');
    assert.equal((await eraseItem({ storage, vault, now: 5 }, 1)) !== null, true);
    assert.equal(await eraseItem({ storage, vault, now: 5 }, 1), null);
    assert.deepEqual(await count(storage), {
      users: 1,
      items: 1,
      accounts: 1,
      transactions: 1,
      refreshes: 1,
      connect_sessions: 1,
      access_tokens: 1,
      data_keys: 1,
    });
    await assert.rejects(vault.open(storage, key, PLACE, sealed));
  });

  test('a user goes with every item', async (t) => {
    const storage = await open(t);
    await seed(storage);
    assert.equal((await eraseUser({ storage, vault, now: 5 }, 'u')) !== null, true);
    assert.equal(await eraseUser({ storage, vault, now: 5 }, 'u'), null);
    assert.deepEqual(new Set(Object.values(await count(storage))), new Set([0]));
  });

  /** Two steps and a half of transactions, and one large record of reasons beside some small ones. */
  async function enlarge(storage: Storage): Promise<number> {
    const rows = 2 * ROWS_PER_STEP + 250;
    const columns = ['id', 'account_id', 'user_uuid', 'status', 'amount_minor', 'amount_exponent', 'currency', 'date', 'date_source'];
    const texts = ['bank_description', 'clean_description', 'category_id', 'created_at', 'updated_at'];
    await storage.transaction(async (tx) => {
      const transactions = Array.from({ length: rows }, (_, index) => {
        const date = `2023-0${1 + (index % 9)}-11`;
        return [100 + index, 1, 'u', 'booked', 1, 2, 'EUR', date, 'booking', 'x', 'x', 1, 1, 1];
      });
      await tx.insertMany('transactions', [...columns, ...texts], transactions);
      for (let each = 0; each < 30; each += 1)
        await tx.run(sql`
          insert into refreshes (id, item_id, application_id, user_uuid, cause, state, phase, run_at, started_at, finished_at)
          values (${`old ${each}`}, 1, 'app', 'u', 'api', 'finished', 'full', 1, 1, 1)`);
      const changes = Array.from({ length: rows + 29 * 40 }, (_, index) => {
        const refresh = index < rows ? 0 : 1 + ((index - rows) % 29);
        return [`old ${refresh}`, 1, index, 1, 'new', 'new', '{}'];
      });
      await tx.insertMany('changes', ['refresh_id', 'account_id', 'n', 'transaction_id', 'kind', 'stage', 'evidence'], changes);
    });
    return rows;
  }

  const left = async (storage: Storage): Promise<number> =>
    (await storage.first<{ n: number }>(sql`
      select (select count(*) from transactions where account_id = 1) + (select count(*) from changes) as n`))!.n;

  test('of an item with many rows goes in steps, with others in between, and counts them all', async (t) => {
    const storage = await open(t);
    await seed(storage);
    const rows = await enlarge(storage);
    const seen = [await left(storage)];
    const pause = async () => void seen.push(await left(storage));
    const receipt = await eraseItem({ storage, vault, now: 5, pause }, 1);
    for (const [at, now] of seen.entries())
      assert.ok(at === 0 || seen[at - 1]! - now <= ROWS_PER_STEP, `${seen[at - 1]! - now} rows at once`);
    assert.ok(seen.length > 8, `${seen.length} steps`);
    assert.equal(await left(storage), 0);
    const { counts } = (await findErasure(storage, 'app', receipt!))!;
    assert.deepEqual([counts.items, counts.transactions, counts.refreshes], [1, rows + 1, 30]);
    assert.deepEqual(await findBrokenOff(storage, 1e15), { users: [], items: [] });
  });

  for (const whose of ['item', 'user'] as const) {
    test(`of the ${whose} that was broken off is ended by upkeep, when nobody can be at it any more`, async (t) => {
      const storage = await open(t);
      const { key, sealed } = await seed(storage);
      const rows = await enlarge(storage);
      let steps = 0;
      const pause = async () => {
        if (steps++ === 1) throw new Error('killed');
      };
      const erase = whose === 'item' ? eraseItem({ storage, vault, now: 5, pause }, 1) : eraseUser({ storage, vault, now: 5, pause }, 'u');
      await assert.rejects(erase, /killed/);
      await assert.rejects(vault.open(storage, key, PLACE, sealed), 'what cannot be taken back was first');
      assert.equal(await storage.first(sql`select id from refreshes where item_id = 1 and finished_at is null`), undefined);
      assert.equal(await resumeErasures({ storage, vault, now: 5 + 4 * MINUTE_MS }), 0);
      assert.equal(await resumeErasures({ storage, vault, now: 5 + 5 * MINUTE_MS }), whose === 'item' ? 1 : 2);
      const counts = await count(storage);
      assert.deepEqual([counts.users, counts.items, counts.transactions], whose === 'item' ? [1, 1, 1] : [0, 0, 0]);
      const receipts = await storage.all<{ id: string }>(sql`select id from erasures`);
      assert.equal(receipts.length, 1);
      const erased = (await findErasure(storage, 'app', receipts[0]!.id))!.counts.transactions;
      assert.equal(erased, whose === 'item' ? rows + 1 : rows + 2);
      assert.equal(await resumeErasures({ storage, vault, now: 1e15 }), 0);
    });
  }
});
