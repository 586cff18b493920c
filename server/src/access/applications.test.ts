import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { sql } from '../storage/sql.ts';
import { applicationNow, authenticateApplication, createApplication, listApplications, rotateSecret } from './applications.ts';

const SANDBOX = { name: 'Shop', environment: 'sandbox', redirectUrl: null } as const;

eachEngine('applications', (open) => {
  test('a secret authenticates until it is rotated, and is stored nowhere', async (t) => {
    const storage = await open(t);
    const { id, clientId, clientSecret } = await storage.transaction((tx) => createApplication(tx, SANDBOX, 1));
    assert.equal((await authenticateApplication(storage, clientId, clientSecret))?.id, id);
    assert.equal(await authenticateApplication(storage, clientId, `${clientSecret}x`), null);
    assert.equal(await authenticateApplication(storage, 'unknown', clientSecret), null);
    assert.equal(await authenticateApplication(storage, 'unknown', ''), null);
    assert.ok(!JSON.stringify(await storage.all(sql`select * from applications`)).includes(clientSecret));

    const rotated = await storage.transaction((tx) => rotateSecret(tx, id));
    assert.equal(await authenticateApplication(storage, clientId, clientSecret), null);
    assert.equal((await authenticateApplication(storage, clientId, rotated!.clientSecret))?.id, id);
    assert.equal(await storage.transaction((tx) => rotateSecret(tx, 'app_none')), null);
  });

  test('what changes raises the version of the configuration', async (t) => {
    const storage = await open(t);
    const version = async () => (await storage.first<{ version: number }>(sql`select version from configuration`))!.version;
    const before = await version();
    const { id } = await storage.transaction((tx) => createApplication(tx, SANDBOX, 1));
    await storage.transaction((tx) => rotateSecret(tx, id));
    assert.equal(await version(), before + 2);
    assert.deepEqual(
      (await listApplications(storage)).map(({ name, environment, createdAt }) => ({ name, environment, createdAt })),
      [{ name: 'Shop', environment: 'sandbox', createdAt: 1 }],
    );
  });
});

test("a sandbox's clock runs ahead by its offset", () => {
  assert.equal(applicationNow({ clockOffsetMs: 86_400_000 }, 1_000), 86_401_000);
});
