import assert from 'node:assert/strict';
import { fdatasync } from 'node:fs';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { freshTarget } from '../../../test/support/engines.ts';
import { createLanes } from '../../events/log.ts';
import { createLogSync } from '../../storage/log-sync.ts';
import { migrate } from '../../storage/migrate.ts';
import { sql } from '../../storage/sql.ts';
import { openSqlite } from '../../storage/sqlite.ts';
import { createWorld, startReceiver } from '../testing.ts';

/** Of the event loop: far longer than it takes to read all lanes. */
const TURNS_OF_A_SYNC = 300;
const ITEMS = Array.from({ length: 40 }, (_, index) => index);

suite('the tails of many lanes on sqlite', () => {
  test('wait for a slow disk together, while more is committed all the time', async (t) => {
    const { file } = (await freshTarget('sqlite', t)) as { file: string };
    let syncs = 0;
    let duringSync = () => {};
    const log = createLogSync(`${file}-wal`, async (fd) => {
      syncs += 1;
      duringSync();
      for (let turn = 0; turn < TURNS_OF_A_SYNC; turn += 1) await new Promise(setImmediate);
      await promisify(fdatasync)(fd);
    });
    const storage = openSqlite(file, log);
    t.after(() => storage.close());
    await migrate(storage, 0);
    await createLanes(storage);
    const world = await createWorld(storage, t);
    const receiver = await startReceiver(t, () => {});
    const { endpoint } = await world.endpoint(receiver.url);
    const delivery = await world.start();

    const lanes = await world.append(ITEMS);
    assert.ok(new Set(lanes).size >= 20);
    const before = syncs;
    const read = new Promise<number>((resolve) => {
      duringSync = () => {
        const { queued, underWay } = delivery.stats();
        if (queued + underWay === ITEMS.length) resolve(syncs - before);
        else void storage.transaction((tx) => tx.run(sql`update endpoints set name = ${`${syncs}`} where id = ${endpoint.id}`));
      };
      duringSync();
    });
    delivery.wake(lanes);
    assert.ok((await read) <= 4, 'a few, for more than twenty lanes');
  });
});
