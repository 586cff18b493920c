/**
 * Erasure with canaries: words that occur nowhere else are planted wherever a user's data goes, and after the erasure
 * every table, the database's files and the log are searched for them.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { DAY_MS, MINUTE_MS } from '../../src/base/clock.ts';
import type { Connector } from '../../src/connectors/connector.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import { readScenario } from '../../src/connectors/sandbox/scenarios/read.ts';
import { createLanes, laneOf, readLane } from '../../src/events/log.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { migrate } from '../../src/storage/migrate.ts';
import { openStorage } from '../../src/storage/open.ts';
import { sql, sqlText } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { eraseItem, eraseUser, findErasure } from '../../src/upkeep/erasure.ts';
import { scrubAll, startScrubbing } from '../../src/upkeep/scrub.ts';
import { eachEngine, freshTarget, openEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, USER } from '../support/world.ts';

const CANARIES = ['KANARIENVOGEL', 'Zaunkoenig', 'FR7612345987650123456789014', 'dompfaff@example.com', 'rotkehlchen-7', 'Stieglitz'];

const SCENARIO = `name: birds
title: Birds
about: A bank whose rows can be told from all others.
accounts:
  - { key: main, name: Zaunkoenig, iban: FR7612345987650123456789014 }
days:
  - day: -2
    does:
      - booked: { amount: -77.31, label: CB KANARIENVOGEL 1 }
  - day: 2
    does:
      - booked: { amount: -12.00, label: CB KANARIENVOGEL 2 }
lasts: 3
`;

/** The bank of the scenario, which says what it was told to forget; `fails` times it cannot be told. */
function birdBank(forgotten: number[], fails = 0): Connector {
  const read = readScenario(SCENARIO);
  assert.ok(read.ok);
  const { scenario } = read;
  let failing = fails;
  return {
    ...demoBank({ scenarios: { find: async (name) => (name === 'birds' ? scenario : null), names: () => ['birds'] } }),
    async forget({ itemId }) {
      failing -= 1;
      if (failing >= 0) throw new Error('not now');
      forgotten.push(itemId);
    },
  };
}

async function tablesOf(storage: Storage): Promise<string[]> {
  const rows =
    storage.engine === 'sqlite'
      ? await storage.all<{ name: string }>(sql`select name from sqlite_master where type = 'table'`)
      : await storage.all<{ name: string }>(sql`select tablename as name from pg_tables where schemaname = 'public'`);
  return rows.map(({ name }) => name);
}

/** Where a word occurs, in any column of any table. */
async function findIn(storage: Storage, words: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const table of await tablesOf(storage)) {
    const text = JSON.stringify(await storage.all(sql`select * from ${sqlText(table)}`));
    for (const word of words) if (text.includes(word)) found.push(`${word} in ${table}`);
  }
  return found;
}

/** A user with every kind of trace: identity, rows, reasons, events, attempts with what a receiver answered, parked deliveries. */
async function plant(storage: Storage, bank: Connector) {
  const logged: string[] = [];
  const log = createLog(
    'debug',
    new Writable({
      write(chunk, _, done) {
        logged.push(String(chunk));
        done();
      },
    }),
  );
  const world = await createWorld(storage, [bank]);
  const services = Object.assign(world.services, { log });
  await storage.transaction((tx) =>
    tx.run(sql`update users set email = 'dompfaff@example.com', external_user_id = 'rotkehlchen-7' where uuid = ${USER}`),
  );
  const itemId = await world.connect(574, { USER: 'scenario:birds', PWD: 'Stieglitz' });
  world.clock.advance(DAY_MS + MINUTE_MS);
  await refreshItem(services, itemId, 'api');
  await world.run();
  const lane = laneOf(`item:${itemId}`);
  const events = await readLane(storage, lane, 0, 1_000);
  assert.ok(events.length >= 6);
  await storage.transaction(async (tx) => {
    for (const { segment, seq, type } of events) {
      await tx.run(sql`
        insert into attempts (segment, lane, seq, endpoint_id, source, n, at, delivered, duration_ms, type, item_id, failure, message, snippet)
        values (${segment}, ${lane}, ${seq}, 'wh_1', 'live', 1, 1, 0, 1, ${type}, ${itemId}, 'status', 'no KANARIENVOGEL', 'Zaunkoenig said no')`);
      await tx.run(sql`
        insert into parked (endpoint_id, lane, seq, item_id, type, state, attempts, parked_at)
        values ('wh_1', ${lane}, ${seq}, ${itemId}, ${type}, 'retry', 1, 1)`);
    }
    await tx.run(sql`
      insert into replays (id, application_id, endpoint_id, kind, filter, state, total, created_at)
      values ('rep_1', ${APPLICATION}, 'wh_1', 'range', ${JSON.stringify({ item_ids: [itemId, 1] })}, 'done', 0, 0)`);
    await tx.run(sql`
      insert into bank_circuits (domain, bank_id, opened_at, probe_at, probes, probe_item_id) values (${APPLICATION}, 574, 1, 2, 0, ${itemId})`);
  });
  const scrub = { ...services, connector: (bankId: number) => (bankId === 574 ? bank : null), onErased: () => {} };
  return { world, services, scrub, itemId, lane, events, logged };
}

eachEngine('an erased user', (open) => {
  test('leaves nothing behind but tombstones and a receipt', async (t) => {
    const storage = await open(t);
    const forgotten: number[] = [];
    const { world, scrub, itemId, lane, events, logged } = await plant(storage, birdBank(forgotten));
    const before = await findIn(storage, [...CANARIES, USER, String(itemId)]);
    const planted: Record<string, readonly string[]> = {
      KANARIENVOGEL: ['transactions', 'changes', 'attempts'],
      Zaunkoenig: ['accounts', 'attempts'],
      FR7612345987650123456789014: ['accounts'],
      'dompfaff@example.com': ['users'],
      'rotkehlchen-7': ['users'],
      [USER]: ['users', 'items', 'accounts', 'transactions', 'refreshes', 'events', 'connect_sessions'],
      [itemId]: [
        'items',
        'accounts',
        'refreshes',
        'events',
        'event_counts',
        'parked',
        'attempts',
        'replays',
        'connect_sessions',
        'bank_circuits',
      ],
    };
    for (const [word, tables] of Object.entries(planted))
      for (const table of tables) assert.ok(before.includes(`${word} in ${table}`), `${word} in ${table}`);

    const receipt = await eraseUser({ storage, vault: world.services.vault, now: world.clock.now() }, USER);
    assert.ok(receipt);
    await scrubAll(scrub);
    assert.equal((await findErasure(storage, APPLICATION, receipt))!.state, 'running', 'what was under way may still be written');
    // An attempt that was on its way at the erasure ends after it.
    const [late] = events;
    await storage.transaction((tx) =>
      tx.run(sql`
      insert into attempts (segment, lane, seq, endpoint_id, source, n, at, delivered, duration_ms, type, item_id, snippet)
      values (${late!.segment}, ${lane}, ${late!.seq}, 'wh_1', 'live', 2, 2, 0, 1, 'item.created', ${itemId}, 'KANARIENVOGEL again')`),
    );
    world.clock.advance(MINUTE_MS);
    await scrubAll(scrub);

    const erasure = await findErasure(storage, APPLICATION, receipt);
    assert.equal(erasure!.state, 'done');
    assert.deepEqual(erasure!.counts, {
      items: 1,
      accounts: 1,
      transactions: 2,
      refreshes: 3,
      events: events.length,
      attempts: events.length + 1,
    });
    assert.deepEqual(forgotten, [itemId]);
    assert.deepEqual(await findIn(storage, [...CANARIES, USER, String(itemId)]), []);
    assert.doesNotMatch(logged.join(''), new RegExp(CANARIES.join('|')));

    const tombstones = await readLane(storage, lane, 0, 1_000);
    assert.deepEqual(
      tombstones.map(({ seq, type }) => [seq, type]),
      events.map(({ seq, type }) => [seq, type]),
    );
    assert.ok(tombstones.every(({ erased, content }) => erased && content === '{}'));
    assert.equal((await storage.first<{ rows: number }>(sql`select count(*) as rows from parked`))!.rows, 0);
  });

  test('is erased once, whoever asks again, and others stay whole', async (t) => {
    const storage = await open(t);
    const { world, scrub, itemId } = await plant(storage, birdBank([]));
    const other = await world.connect(574, { USER: 'scenario:birds', PWD: 'x' });
    const services = { storage, vault: world.services.vault, now: world.clock.now() };
    assert.ok(await eraseItem(services, itemId));
    assert.equal(await eraseItem(services, itemId), null);
    world.clock.advance(MINUTE_MS);
    await scrubAll(scrub);
    world.clock.advance(MINUTE_MS);
    await scrubAll(scrub);
    const kept = await readLane(storage, laneOf(`item:${other}`), 0, 1_000);
    assert.ok(kept.some((event) => event.itemId === other && !event.erased && event.content !== '{}'));
    const rows = await storage.first<{ rows: number }>(sql`select count(*) as rows from transactions`);
    assert.ok(rows!.rows > 0);
  });

  test('goes on where another node, or an earlier start, left it, and tells the bank until it listens', async (t) => {
    const storage = await open(t);
    const forgotten: number[] = [];
    const { world, scrub, itemId } = await plant(storage, birdBank(forgotten, 2));
    const receipt = await eraseItem({ storage, vault: world.services.vault, now: world.clock.now() }, itemId);
    // A node took it and died: its claim ends by time.
    await storage.transaction((tx) => tx.run(sql`update erasures set claimed_until = ${world.clock.now() + MINUTE_MS}`));
    const dropped: number[][] = [];
    await scrubAll({ ...scrub, onErased: (itemIds) => dropped.push([...itemIds]) });
    assert.equal((await findErasure(storage, APPLICATION, receipt!))!.counts.events, 0);
    assert.deepEqual(dropped, [[itemId]], 'what this node has in hand is dropped, whoever works at it');
    for (let tries = 0; tries < 6; tries += 1) {
      world.clock.advance(6 * MINUTE_MS);
      await scrubAll(scrub);
    }
    assert.deepEqual(forgotten, [itemId]);
    assert.equal((await findErasure(storage, APPLICATION, receipt!))!.state, 'done');
  });

  test('a server that is told that none runs asks no more, and one that is told of one begins', async (t) => {
    const storage = await open(t);
    const { world, scrub, itemId } = await plant(storage, birdBank([]));
    const dropped: number[] = [];
    const before = storage.counts.statements;
    const scrubbing = startScrubbing({ ...scrub, onErased: (itemIds) => dropped.push(...itemIds) });
    t.after(() => scrubbing.stop());
    // Each turn is a read of ours: PostgreSQL answers those of the server meanwhile.
    const turn = () => storage.first(sql`select one from configuration`).then(() => new Promise(setImmediate));
    for (let tell = 0; tell < 50; tell += 1) {
      scrubbing.tell(null);
      await turn();
    }
    assert.equal(storage.counts.statements - before, 51, 'its look at the start, and ours');
    await eraseItem({ storage, vault: world.services.vault, now: world.clock.now() }, itemId);
    scrubbing.tell(0);
    // A fraction of the minute after which it looks for itself.
    for (let turns = 0; turns < 20_000 && dropped.length === 0; turns += 1) await turn();
    assert.equal(dropped[0], itemId);
  });

  test('has a receipt that only its application sees', async (t) => {
    const storage = await open(t);
    const { world, itemId } = await plant(storage, birdBank([]));
    const receipt = await eraseItem({ storage, vault: world.services.vault, now: world.clock.now() }, itemId);
    assert.ok(await findErasure(storage, APPLICATION, receipt!));
    assert.equal(await findErasure(storage, 'app_other', receipt!), null);
  });
});

test('nothing of an erased user is left in the files of SQLite after they were vacuumed', async (t) => {
  const target = await freshTarget('sqlite', t);
  assert.ok('file' in target);
  const storage = openStorage(target);
  await migrate(storage, 0);
  await createLanes(storage);
  const { world, scrub } = await plant(storage, birdBank([]));
  assert.ok(CANARIES.some((word) => readFileSync(target.file).includes(word) || readFileSync(`${target.file}-wal`).includes(word)));
  await eraseUser({ storage, vault: world.services.vault, now: world.clock.now() }, USER);
  await scrubAll(scrub);
  world.clock.advance(MINUTE_MS);
  await scrubAll(scrub);
  await storage.close();
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(target.file);
  database.exec('vacuum; pragma wal_checkpoint(truncate)');
  database.close();
  const bytes = readFileSync(target.file);
  assert.deepEqual(
    CANARIES.filter((word) => bytes.includes(word)),
    [],
  );
  assert.ok(!bytes.includes(USER));
});

/** The words that stand in any file of the test's own database, as its server has written them to the disk by now. */
async function findInFiles(storage: Storage, words: readonly string[]): Promise<string[]> {
  await storage.all(sql`checkpoint`);
  const place = await storage.first<{ folder: string; oid: string }>(
    sql`select current_setting('data_directory') as folder, oid::text as oid from pg_database where datname = current_database()`,
  );
  const folder = join(place!.folder, 'base', place!.oid);
  const files = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
  assert.ok(files.length > 100, 'the catalogue alone has some hundreds');
  return words.filter((word) => files.some((bytes) => bytes.includes(word)));
}

test("nothing of an erased user is left in the database's files of PostgreSQL after they were vacuumed", async (t) => {
  const storage = await openEngine('postgres', t);
  const { world, scrub } = await plant(storage, birdBank([]));
  const written = await findInFiles(storage, [...CANARIES, USER]);
  for (const word of ['KANARIENVOGEL', 'Zaunkoenig', 'dompfaff@example.com', USER]) assert.ok(written.includes(word), word);
  await eraseUser({ storage, vault: world.services.vault, now: world.clock.now() }, USER);
  await scrubAll(scrub);
  world.clock.advance(MINUTE_MS);
  await scrubAll(scrub);
  // Sessions that begin just now, of any database, keep a vacuum from taking what was deleted a moment ago.
  let left: string[] = [];
  for (let vacuums = 0; vacuums === 0 || (left.length > 0 && vacuums < 10); vacuums += 1) {
    await storage.all(sql`vacuum (full, analyze)`);
    left = await findInFiles(storage, [...CANARIES, USER]);
  }
  assert.deepEqual(left, []);
});
