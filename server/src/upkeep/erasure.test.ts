import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { sql, sqlText } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { createVault, deriveWrappingKey } from '../vault/vault.ts';
import { eraseItem, eraseUser } from './erasure.ts';

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
});
