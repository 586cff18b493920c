import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { type Sql, sql } from '../storage/sql.ts';
import { silentLog } from '../telemetry/log.ts';
import { TURNS } from './testing.ts';
import { forgetExpired } from './upkeep.ts';

const NOW = Date.UTC(2026, 2, 2, 8);
const PAST = NOW - 1;
const LATER = NOW + 1;

eachEngine('upkeep', (open) => {
  test('removes what has expired, and nothing else', async (t) => {
    const storage = await open(t);
    await storage.transaction(async (tx) => {
      await tx.run(
        sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at) values ('app', 'A', 'sandbox', 'c', 'd', 0)`,
      );
      await tx.run(sql`insert into users (uuid, application_id, created_at) values ('user', 'app', 0)`);
      await tx.run(
        sql`insert into endpoints (id, application_id, name, url, events, data_key_id, created_at, updated_at) values ('wh', 'app', 'W', 'https://x.example', '[]', 'k', 0, 0)`,
      );
      for (const [name, at] of [
        ['past', PAST],
        ['later', LATER],
      ] as const) {
        await tx.run(sql`insert into access_tokens (digest, application_id, user_uuid, expires_at) values (${name}, 'app', 'user', ${at})`);
        await tx.run(
          sql`insert into connect_sessions (id, application_id, user_uuid, purpose, step, link_expires_at, created_at) values (${name}, 'app', 'user', 'add', 'list_banks', ${at}, 0)`,
        );
        await tx.run(
          sql`insert into endpoint_secrets (id, endpoint_id, sealed, created_at, expires_at) values (${name}, 'wh', 's', 0, ${at})`,
        );
      }
      await tx.run(sql`insert into endpoint_secrets (id, endpoint_id, sealed, created_at) values ('newest', 'wh', 's', 0)`);
      // A first connection that was abandoned, one that still has time, and one that succeeded long ago.
      for (const [id, expireAt, connected] of [
        [1, PAST, 0],
        [2, LATER, 0],
        [3, null, 1],
      ] as const) {
        await tx.run(
          sql`insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, credentials, credentials_expire_at, connected_once, created_at) values (${id}, 'app', 'user', 574, 0, 'k', 'sealed', ${expireAt}, ${connected}, 0)`,
        );
      }
    });

    const services = { storage, clock: { now: () => NOW }, log: silentLog, ...TURNS };
    await forgetExpired(services);
    await forgetExpired(services);

    const left = async (query: Sql) => (await storage.all<{ id: string | number }>(query)).map(({ id }) => id);
    assert.deepEqual(await left(sql`select digest as id from access_tokens`), ['later']);
    assert.deepEqual(await left(sql`select id from connect_sessions`), ['later']);
    assert.deepEqual(await left(sql`select id from endpoint_secrets order by id`), ['later', 'newest']);
    assert.deepEqual(await left(sql`select id from items where credentials is null`), [1]);
  });
});
