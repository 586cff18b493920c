import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sql } from '../../src/storage/sql.ts';
import { eachEngine } from '../../test/support/engines.ts';
import { countingStorage } from './statements.ts';

eachEngine('the count of statements', (open) => {
  test('misses no way to ask', async (t) => {
    const opened = await open(t);
    await opened.transaction((tx) => tx.run(sql`create table counted (one bigint primary key)`));
    const before = opened.counts.statements;
    const { storage, counts } = countingStorage(opened);
    await storage.all(sql`select one from counted`);
    await storage.first(sql`select one from counted`);
    await storage.tuples(sql`select one from counted`);
    assert.deepEqual(counts, { reads: 3, writes: 0 });
    assert.equal(counts.reads, opened.counts.statements - before);
    await storage.transaction(async (tx) => {
      await tx.all(sql`select one from counted`);
      await tx.first(sql`select one from counted`);
      await tx.run(sql`insert into counted (one) values (1)`);
      await tx.insertMany('counted', ['one'], [[2], [3]]);
      await tx.insertMany('counted', ['one'], []);
      await tx.insertLast('counted', ['one'], [[4], [5]]);
    });
    assert.deepEqual(counts, { reads: 3, writes: 5 });
  });
});
