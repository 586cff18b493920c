import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Config, keyFile, OperatorError, readConfig } from './config.ts';
import { createKeyRing, ensureKeys, prependKey, readKeyFile } from './keys.ts';
import { migrate } from './storage/migrate.ts';
import { openSqlite } from './storage/sqlite.ts';
import { createVault } from './vault/vault.ts';

const root = mkdtempSync(join(tmpdir(), 'pontage-keys-'));
after(() => rmSync(root, { recursive: true, force: true }));

function configOf(name: string, environment: Record<string, string> = {}): Config {
  const result = readConfig({ ...environment, PONTAGE_DATA_DIR: join(root, name) }, 'development');
  assert.ok(result.ok);
  return result.config;
}

async function database(config: Config) {
  prependKey(keyFile(config));
  const storage = openSqlite(join(config.dataDir, 'test.db'));
  await migrate(storage, 0);
  return storage;
}

test('a generated key is for its owner alone, and a new one goes before those that are there', () => {
  const file = keyFile(configOf('generated'));
  prependKey(file);
  const [first] = readKeyFile(file);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  prependKey(file);
  assert.equal(readKeyFile(file).length, 2);
  assert.equal(readKeyFile(file)[1], first);
});

test('a ring meets a key that was added after it was made, and the environment comes first', () => {
  const config = configOf('ring');
  prependKey(keyFile(config));
  const ring = createKeyRing(config);
  const before = ring().current.id;
  prependKey(keyFile(config));
  assert.notEqual(ring().current.id, before);
  assert.ok(ring().all.some(({ id }) => id === before));
  const configured = configOf('ring', { PONTAGE_SECRET_KEY: 'Zt1c9mB0qkVxX3yQ8n5rLw2sHd7uJfGa' });
  assert.equal(createKeyRing(configured)().all.length, 3);
});

test('a lost key is told, not replaced by a new one', async () => {
  const config = configOf('lost');
  const storage = await database(config);
  const vault = createVault(createKeyRing(config));
  await storage.transaction((tx) => vault.createKey(tx, 0));
  await ensureKeys(config, storage);
  const kept = readFileSync(keyFile(config));
  rmSync(keyFile(config));
  await assert.rejects(ensureKeys(config, storage), (error) => error instanceof OperatorError && /restore/.test(error.message));
  prependKey(keyFile(config));
  await assert.rejects(ensureKeys(config, storage), /not configured/);
  writeFileSync(keyFile(config), kept);
  await ensureKeys(config, storage);
  await storage.close();
});
