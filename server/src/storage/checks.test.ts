import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { findDamage, hasTable } from './checks.ts';
import { sql } from './sql.ts';

eachEngine('checks of a database', (open) => {
  test('a table that is there is told from one that is not', async (t) => {
    const storage = await open(t);
    assert.deepEqual([await hasTable(storage, 'migrations'), await hasTable(storage, 'nothing')], [true, false]);
    assert.equal(await findDamage(storage), null);
  });

  test('a database that is shared tells the time of its own clock, in milliseconds', async (t) => {
    const storage = await open(t);
    if (!storage.shared) return t.skip('it is embedded');
    const read = async () =>
      (await storage.first<{ now: number }>(sql`select extract(epoch from clock_timestamp())::float8 * 1000 as now`))!.now;
    const [before, now, after] = [await read(), await storage.shared.now(), await read()];
    assert.ok(Math.floor(before) <= now && now <= Math.ceil(after), `${before} ${now} ${after}`);
  });
});
