/** What the embedded database answers, and shows, a loss of power does not take back; what it has not answered may go. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { createLogSync } from './log-sync.ts';
import { sql } from './sql.ts';
import { openSqlite } from './sqlite.ts';

function freshFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'pontage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An embedded database whose disk answers when the test says so. `waits`: how often it was asked. */
function onHeldDisk(t: TestContext) {
  const file = join(freshFolder(t), 'held.db');
  const disk = { waits: 0, held: Promise.resolve() };
  const log = createLogSync(`${file}-wal`, async () => {
    disk.waits += 1;
    await disk.held;
  });
  const storage = openSqlite(file, log);
  const add = (name: string, durable = true) => storage.transaction((tx) => tx.run(sql`insert into names values (${name})`), { durable });
  return { storage, disk, add };
}

async function turns() {
  for (let count = 0; count < 10; count += 1) await new Promise(setImmediate);
}

test('SQLite answers nothing that the disk has not, and one wait for it serves all that came meanwhile', async (t) => {
  const { storage, disk, add } = onHeldDisk(t);
  await storage.transaction((tx) => tx.run(sql`create table names (name text primary key)`));
  assert.equal(disk.waits, 1);
  const { promise, resolve: letGo } = Promise.withResolvers<void>();
  disk.held = promise;
  const answered: string[] = [];
  const note = (name: string) => () => answered.push(name);
  const first = add('first').then(note('first'));
  await turns();
  assert.equal(disk.waits, 2);
  const more = [
    add('second').then(note('second')),
    add('third').then(note('third')),
    assert.rejects(add('first')).then(note('refused')),
    storage.all(sql`select name from names`).then(note('read')),
  ];
  await turns();
  await add('lazy', false);
  assert.deepEqual([answered, disk.waits], [[], 2]);
  letGo();
  await Promise.all([first, ...more]);
  assert.equal(answered[0], 'first');
  assert.equal(disk.waits, 3);
  assert.equal((await storage.all(sql`select name from names`)).length, 4);
  assert.equal(disk.waits, 3, 'nothing new, so nothing to wait for');
  await storage.close();
});

test('what the disk refuses is refused to all who wait for it, and to all that come after, though the disk says yes again', async (t) => {
  const { storage, disk, add } = onHeldDisk(t);
  await storage.transaction((tx) => tx.run(sql`create table names (name text primary key)`));
  const { promise, reject } = Promise.withResolvers<void>();
  disk.held = promise;
  const refused = Promise.allSettled([add('first'), turns().then(() => storage.first(sql`select name from names`))]);
  await turns();
  await turns();
  reject(new Error('no such luck'));
  for (const one of await refused) {
    assert.ok(one.status === 'rejected');
    assert.match(String(one.reason), /no such luck/);
  }
  disk.held = Promise.resolve();
  await assert.rejects(add('second'), /refused to keep.*no such luck/);
  await assert.rejects(add('lazy', false), /refused to keep/);
  await assert.rejects(storage.all(sql`select name from names`), /refused to keep/);
  await storage.close();
});

test('a log that could not be opened is opened by the next commit', async (t) => {
  const folder = freshFolder(t);
  const log = createLogSync(join(folder, 'late-wal'));
  log.committed();
  await assert.rejects(async () => log.durable(), /ENOENT/);
  writeFileSync(join(folder, 'late-wal'), '');
  await log.durable();
  assert.equal(log.durable(), null);
  await log.close();
});

test('SQLite that is being closed answers what it was given and refuses the rest', async (t) => {
  const { storage, disk, add } = onHeldDisk(t);
  await storage.transaction((tx) => tx.run(sql`create table names (name text primary key)`));
  const { promise, resolve: letGo } = Promise.withResolvers<void>();
  disk.held = promise;
  const given = add('given');
  const closed = storage.close();
  await assert.rejects(add('late'), /the database is closed/);
  await turns();
  letGo();
  assert.equal(await given, 1);
  await closed;
  await assert.rejects(storage.first(sql`select name from names`));
});

/** Fewer than after which the log is copied into the database's file: that stays as it began. */
const COMMITS = 200;

test('after a loss of power at any moment all is there that was answered or shown', async (t) => {
  const folder = freshFolder(t);
  const file = join(folder, 'lost.db');
  const log = `${file}-wal`;
  const onDisk = join(folder, 'on-disk');
  let syncs = 0;
  // A disk that has what the log was when a sync began, once that sync has ended, and nothing else.
  const sync = createLogSync(log, async () => {
    syncs += 1;
    const copy = join(folder, `sync-${syncs}`);
    copyFileSync(log, copy);
    for (let turn = 0; turn < syncs % 4; turn += 1) await new Promise(setImmediate);
    copyFileSync(copy, onDisk);
    rmSync(copy);
  });
  const storage = openSqlite(file, sync);
  await storage.transaction((tx) => tx.run(sql`create table names (name bigint primary key)`));
  const known = new Set<number>();
  const afterLoss = () => {
    const lost = join(freshFolder(t), 'found.db');
    copyFileSync(file, lost);
    copyFileSync(onDisk, `${lost}-wal`);
    const found = new DatabaseSync(lost);
    try {
      return new Set(
        found
          .prepare('select name from names')
          .all()
          .map(({ name }) => name as number),
      );
    } finally {
      found.close();
    }
  };
  let losses = 0;
  const work = async (first: number) => {
    for (let name = first; name < COMMITS; name += 3) {
      await storage.transaction((tx) => tx.run(sql`insert into names values (${name})`));
      known.add(name);
      if (name % 5 !== 0) continue;
      for (const row of await storage.all<{ name: number }>(sql`select name from names`)) known.add(row.name);
      const kept = afterLoss();
      losses += 1;
      assert.deepEqual(
        [...known].filter((one) => !kept.has(one)),
        [],
      );
    }
  };
  await Promise.all([work(0), work(1), work(2)]);
  assert.ok(losses === COMMITS / 5 && syncs > 50);
  await storage.close();
});
