import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { sql } from '../storage/sql.ts';
import { createVault, deriveWrappingKey, SecretUnreadable, type WrappingKey } from './vault.ts';

const OLD = deriveWrappingKey('an old secret of the operator, long enough');
const NEW = deriveWrappingKey('a new secret of the operator, long enough');
const ring =
  (...keys: [WrappingKey, ...WrappingKey[]]) =>
  () => ({ current: keys[0], all: keys });
const PLACE = { table: 'items', column: 'credentials', id: 1 };
const SECRET = 'motdepasse tout à fait secret';

eachEngine('vault', (open) => {
  test('opens what it sealed, and no byte of the secret stands in the blob', async (t) => {
    const storage = await open(t);
    const vault = createVault(ring(NEW));
    const key = await storage.transaction((tx) => vault.createKey(tx, 0));
    const sealed = await vault.seal(storage, key, PLACE, SECRET);
    assert.equal(await vault.open(storage, key, PLACE, sealed), SECRET);
    assert.ok(!Buffer.from(sealed.slice(3), 'base64url').includes('motdepasse'));
    assert.notEqual(await vault.seal(storage, key, PLACE, SECRET), sealed);
  });

  test('a blob opens in its own place only, with its own key, unchanged', async (t) => {
    const storage = await open(t);
    const vault = createVault(ring(NEW));
    const [key, other] = await storage.transaction(async (tx) => [await vault.createKey(tx, 0), await vault.createKey(tx, 0)] as const);
    const sealed = await vault.seal(storage, key, PLACE, SECRET);
    await assert.rejects(vault.open(storage, key, { ...PLACE, id: 2 }, sealed), SecretUnreadable);
    await assert.rejects(vault.open(storage, key, { ...PLACE, column: 'connector_state' }, sealed), SecretUnreadable);
    await assert.rejects(vault.open(storage, other, PLACE, sealed), SecretUnreadable);
    const last = sealed.at(-2) === 'A' ? 'B' : 'A';
    await assert.rejects(vault.open(storage, key, PLACE, `${sealed.slice(0, -2)}${last}${sealed.at(-1)}`), SecretUnreadable);
  });

  test('rotation wraps the data keys again while servers run; the old key is then not needed', async (t) => {
    const storage = await open(t);
    const before = createVault(ring(OLD));
    const key = await storage.transaction((tx) => before.createKey(tx, 0));
    const sealed = await before.seal(storage, key, PLACE, SECRET);
    assert.equal(await createVault(ring(NEW, OLD)).rewrap(storage), 1);
    assert.equal(await createVault(ring(NEW)).open(storage, key, PLACE, sealed), SECRET);
    await assert.rejects(createVault(ring(OLD)).open(storage, key, PLACE, sealed), /not configured/);
    assert.equal(await createVault(ring(NEW, OLD)).rewrap(storage), 0);
  });

  test('a destroyed key makes everything under it unreadable', async (t) => {
    const storage = await open(t);
    const vault = createVault(ring(NEW));
    const key = await storage.transaction((tx) => vault.createKey(tx, 0));
    const sealed = await vault.seal(storage, key, PLACE, SECRET);
    await storage.transaction((tx) => vault.destroyKey(tx, key));
    await assert.rejects(vault.open(storage, key, PLACE, sealed), /destroyed/);
    assert.equal(await storage.first(sql`select id from data_keys where id = ${key}`), undefined);
  });
});
