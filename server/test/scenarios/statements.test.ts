/** Real statement files through the whole refresh: the right accounts, rows and balances, once. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { sum, toNumber } from '../../src/base/money.ts';
import type { Credentials, Json } from '../../src/connectors/connector.ts';
import { STATEMENTS_BANK_ID, statementsConnector } from '../../src/connectors/statements/connector.ts';
import type { LoggedEvent } from '../../src/events/log.ts';
import { findItem, replaceCredentials } from '../../src/items/items.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { openState } from '../../src/refresh/sealed.ts';
import { sql } from '../../src/storage/sql.ts';
import { eachEngine } from '../support/engines.ts';
import { createWorld, type World } from '../support/world.ts';

const FIXTURES = new URL('../../src/connectors/statements/fixtures/samples/', import.meta.url);
const samples = ['camt', 'ofx'].flatMap((folder) =>
  readdirSync(new URL(`${folder}/`, FIXTURES))
    .filter((name) => /\.(xml|ofx)$/.test(name))
    .map((name) => ({ name, path: `${folder}/${name}`, bytes: readFileSync(new URL(`${folder}/${name}`, FIXTURES)) })),
);

type Expected = { accounts: { identity: string; currency: string; rows: number; sum: string; balance: { amount: string } | null }[] };
const EXPECTED = JSON.parse(
  readFileSync(new URL('../../src/connectors/statements/samples.expected.json', import.meta.url), 'utf8'),
) as Record<string, Expected>;

type StoredAccount = {
  id: number;
  identity: string;
  currency: string;
  balance_minor: number | null;
  balance_exponent: number | null;
};

/** What the table says of a file, against what stands in the database. */
async function expectStored(storage: World['services']['storage'], accounts: readonly StoredAccount[], expected: Expected): Promise<void> {
  const stored = await Promise.all(
    accounts.map(async ({ id, identity, currency, balance_minor, balance_exponent }) => {
      const rows = await storage.all<{ amount_minor: number; amount_exponent: number }>(
        sql`select amount_minor, amount_exponent from transactions where account_id = ${id}`,
      );
      const total = sum(
        rows.map((row) => ({ minor: row.amount_minor, exponent: row.amount_exponent, currency })),
        currency,
      );
      const balance = balance_minor === null ? null : toNumber({ minor: balance_minor, exponent: balance_exponent! });
      return { identity, currency, rows: rows.length, sum: toNumber(total), balance };
    }),
  );
  const table = expected.accounts.map(({ identity, currency, rows, sum, balance }) => ({
    identity,
    currency,
    rows,
    sum: Number(sum),
    balance: balance === null ? null : Number(balance.amount),
  }));
  const byIdentity = (a: { identity: string }, b: { identity: string }) => a.identity.localeCompare(b.identity);
  assert.deepEqual(stored.toSorted(byIdentity), table.toSorted(byIdentity));
}

async function read(files: readonly { name: string; bytes: Uint8Array }[], kept: Json): Promise<Credentials> {
  const outcome = await statementsConnector.readFiles!(files, kept);
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.credentials;
}

/** Uploads newer files to an item that exists, as `connect/items/sync` does. */
async function upload(world: World, itemId: number, files: readonly { name: string; bytes: Uint8Array }[]): Promise<LoggedEvent[]> {
  const { services, clock } = world;
  const before = (await world.events()).length;
  clock.advance(60_000);
  const item = await findItem(services.storage, itemId);
  const credentials = await read(files, await openState(services, item!));
  const sealed = await services.vault.seal(
    services.storage,
    item!.dataKeyId,
    { table: 'items', column: 'credentials', id: itemId },
    JSON.stringify(credentials),
  );
  await services.storage.transaction((tx) => replaceCredentials(tx, itemId, sealed, clock.now() + 1_000_000, true));
  await refreshItem(services, itemId, 'connect');
  await world.run();
  // Nothing follows an upload: its files were read, and are not kept.
  clock.advance(60_000);
  await world.run();
  return (await world.events()).slice(before);
}

const typesOf = (events: readonly LoggedEvent[]) => events.map(({ type }) => type);
const contentOf = (event: LoggedEvent) => JSON.parse(event.content) as Record<string, number | boolean>;

eachEngine('statement files', (open) => {
  for (const sample of samples) {
    test(`${sample.name}: imported once, and again without a change`, async (t) => {
      const world = await createWorld(await open(t), [statementsConnector]);
      const itemId = await world.connect(STATEMENTS_BANK_ID, await read([sample], null));
      const first = await world.events();
      const { storage } = world.services;
      const accounts = await storage.all<StoredAccount>(sql`select * from accounts where item_id = ${itemId}`);
      await expectStored(storage, accounts, EXPECTED[sample.path]!);
      const rows = await storage.first<{ rows: number }>(sql`select count(*) as rows from transactions`);
      assert.ok(accounts.length > 0);
      assert.equal(typesOf(first).filter((type) => type === 'item.account.created').length, accounts.length);
      const told = first
        .filter(({ type }) => type === 'item.account.updated')
        .reduce((sum, event) => sum + Number(contentOf(event).nb_new_transactions), 0);
      assert.equal(told, rows!.rows);
      assert.equal(typesOf(first).at(-1), 'item.refreshed');
      assert.deepEqual(contentOf(first.at(-1)!).full_refresh, true);
      assert.equal((await findItem(storage, itemId))!.credentials, null, 'what the files held is not kept');

      const again = await upload(world, itemId, [sample]);
      assert.deepEqual(typesOf(again), ['item.refreshed']);
      assert.equal(contentOf(again[0]!).full_refresh, false);
      const renamed = await upload(world, itemId, [
        { name: `copy of ${sample.name}`, bytes: Buffer.concat([sample.bytes, Buffer.from('\n')]) },
      ]);
      assert.deepEqual(typesOf(renamed), ['item.refreshed'], 'other bytes, the same rows');
    });
  }

  test('a refresh without a file asks for the user: 1010, and no unattended refresh is ever due', async (t) => {
    const world = await createWorld(await open(t), [statementsConnector]);
    const itemId = await world.connect(STATEMENTS_BANK_ID, await read([samples[0]!], null));
    const before = (await world.events()).length;
    await refreshItem(world.services, itemId, 'api');
    await world.run();
    const [refreshed] = (await world.events()).slice(before);
    assert.equal(contentOf(refreshed!).status_code, 1010);
    const item = await world.services.storage.first<{ due_at: number | null }>(sql`select due_at from items where id = ${itemId}`);
    assert.equal(item!.due_at, null);
  });
});
