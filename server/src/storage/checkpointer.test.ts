import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { createCheckpointer } from './checkpointer.ts';

const COMMITS = 250;

function openDatabase(t: TestContext) {
  const file = join(mkdtempSync(join(tmpdir(), 'pontage-')), 'one.db');
  t.after(() => rmSync(join(file, '..'), { recursive: true, force: true }));
  const database = new DatabaseSync(file);
  t.after(() => database.close());
  database.exec('pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table one (n)');
  return { file, database };
}

test('what an idle server commits is checkpointed where it was written, and needs no thread', async (t) => {
  const { file, database } = openDatabase(t);
  const empty = statSync(file).size;
  let now = 0;
  let here = 0;
  const checkpointHere = () => {
    here += 1;
    database.exec('pragma wal_checkpoint(passive)');
  };
  const checkpointer = createCheckpointer(file, { checkpointHere, monotonicMs: () => now });
  const commit = (everyMs: number) => {
    for (let count = 0; count < COMMITS; count += 1) {
      now += everyMs;
      database.exec('insert into one values (1)');
      checkpointer.committed();
    }
  };
  commit(1_200);
  assert.equal(here, 1);
  assert.ok(statSync(file).size > empty, 'the log was copied into the file');
  commit(5);
  assert.equal(here, 1, 'under load a thread does it');
  await checkpointer.close();
});

test('a log that is long begins anew as soon as the thread has copied most of it', async (t) => {
  const { file, database } = openDatabase(t);
  const { promise: restarted, resolve } = Promise.withResolvers<void>();
  const checkpointHere = () => {
    database.exec('pragma wal_checkpoint(passive)');
    resolve();
  };
  const checkpointer = createCheckpointer(file, { checkpointHere, monotonicMs: () => 0 });
  database.exec('begin');
  const insert = database.prepare('insert into one values (zeroblob(36000000))');
  insert.run();
  database.exec('commit');
  for (let count = 0; count < COMMITS; count += 1) checkpointer.committed();
  await restarted;
  const long = statSync(`${file}-wal`).size;
  database.exec('insert into one values (1)');
  assert.equal(statSync(`${file}-wal`).size, long, 'written over from its beginning');
  const { log } = database.prepare('pragma wal_checkpoint(passive)').get() as { log: number };
  assert.ok(log < 100, `${log} pages`);
  await checkpointer.close();
});

test('a checkpoint that fails, as on a full disk, fails neither the commit nor the server', async (t) => {
  const { file, database } = openDatabase(t);
  let now = 0;
  const { promise: failed, resolve } = Promise.withResolvers<void>();
  const checkpointHere = () => {
    setImmediate(resolve);
    throw new Error('database or disk is full');
  };
  const checkpointer = createCheckpointer(file, { checkpointHere, monotonicMs: () => now });
  const commits = (everyMs: number) => {
    for (let count = 0; count < COMMITS; count += 1) {
      now += everyMs;
      checkpointer.committed();
    }
  };
  commits(1_200);
  await failed;
  // By the thread, whose answer comes in a turn of its own.
  database.exec('insert into one values (zeroblob(36000000))');
  const again = Promise.withResolvers<void>();
  const underLoad = createCheckpointer(file, {
    checkpointHere: () => {
      setImmediate(again.resolve);
      throw new Error('cannot checkpoint within a transaction');
    },
    monotonicMs: () => 0,
  });
  for (let count = 0; count < COMMITS; count += 1) underLoad.committed();
  await again.promise;
  await checkpointer.close();
  await underLoad.close();
});
