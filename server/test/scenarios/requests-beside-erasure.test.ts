/** Requests of a user and of an item that are erased at the same moment: each comes before or after, and none fails by a fault of ours. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createApplication } from '../../src/access/applications.ts';
import { readConfig } from '../../src/config.ts';
import { startServer } from '../../src/server.ts';
import { sql } from '../../src/storage/sql.ts';
import { ENGINES, freshTarget } from '../support/engines.ts';

/** Each is a race of its own. */
const USERS = 15;

for (const engine of ENGINES) {
  test(`${engine}: requests beside an erasure are answered, and leave nothing of what is erased`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'pontage-erased-'));
    const target = await freshTarget(engine, t);
    const read = readConfig(
      {
        ...{ PONTAGE_PORT: '0', PONTAGE_DATA_DIR: folder, PONTAGE_LOG_LEVEL: 'silent' },
        ...('databaseUrl' in target ? { DATABASE_URL: target.databaseUrl } : {}),
      },
      'development',
    );
    assert.ok(read.ok);
    const running = await startServer(read.config);
    t.after(async () => {
      await running.stop();
      rmSync(folder, { recursive: true, force: true });
    });
    const { storage } = running.services;
    const application = await storage.transaction((tx) =>
      createApplication(tx, { name: 'Exemple', environment: 'sandbox', redirectUrl: null }, 1),
    );
    const call = async (method: string, path: string, token: string | null = null, body: object | null = null) => {
      const response = await fetch(`${running.localUrl}${path}`, {
        method,
        headers: {
          ...{ 'Bridge-Version': '2021-06-01', 'Client-Id': application.clientId, 'Client-Secret': application.clientSecret },
          ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
          ...(body === null ? {} : { 'Content-Type': 'application/json' }),
        },
        ...(body === null ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, text: await response.text() };
    };

    for (let round = 0; round < USERS; round += 1) {
      const { uuid } = JSON.parse((await call('POST', '/v2/users')).text) as { uuid: string };
      const authenticate = () => call('POST', '/v2/authenticate', null, { user_uuid: uuid });
      const { access_token: token } = JSON.parse((await authenticate()).text) as { access_token: string };
      const itemId = 4_100_000 + round;
      await storage.transaction(async (tx) => {
        await tx.run(sql`insert into data_keys (id, wrapped, wrapping_key_id, created_at) values (${`key_${round}`}, 'wrapped', 'k', 1)`);
        await tx.run(sql`
          insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, created_at)
          values (${itemId}, ${application.id}, ${uuid}, 574, 0, ${`key_${round}`}, 1)`);
      });
      const add = () => call('POST', '/v2/connect/items/add', token, {});
      const edit = () => call('GET', `/v2/connect/items/edit?item_id=${itemId}`, token);
      // Every other round the item goes alone, and its user stays.
      const erased = round % 2 === 0 ? `/v2/users/${uuid}` : `/v2/items/${itemId}`;
      const answers = await Promise.all([
        ...[authenticate(), add(), edit(), authenticate(), edit()],
        call('DELETE', erased, token),
        ...[add(), edit(), authenticate(), edit()],
      ]);
      for (const { status, text } of answers) assert.ok(status < 500, text);
    }

    const left = await storage.first<{ sessions: number; tokens: number }>(sql`
      select (select count(*) from connect_sessions where item_id is not null) as sessions,
        (select count(*) from access_tokens where user_uuid not in (select uuid from users)) as tokens`);
    assert.deepEqual({ ...left }, { sessions: 0, tokens: 0 });
  });
}
