import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { createApplication } from '../../access/applications.ts';
import { laneOf } from '../../events/log.ts';
import { sql } from '../../storage/sql.ts';
import { createWorld } from '../testing.ts';
import { countLags } from './backlog.ts';

eachEngine('how far webhooks are behind', (open) => {
  test('is counted in events of their own application, not in places of the log, and without what is settled ahead', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, t);
    const lane = laneOf('item:1');
    const { endpoint: hanging } = await world.endpoint('http://127.0.0.1:9/');
    const { endpoint: idle } = await world.endpoint('http://127.0.0.1:9/');
    await world.endpoint('http://127.0.0.1:9/');
    await world.append([1, 1, 1, 1, 1]);
    await storage.transaction(async (tx) => {
      await tx.run(
        sql`insert into endpoint_positions (endpoint_id, lane, settled, ahead, since) values (${hanging.id}, ${lane}, 1, '[[3,4]]', 1)`,
      );
      await tx.run(sql`insert into endpoint_positions (endpoint_id, lane, settled, since) values (${idle.id}, ${lane}, 0, 1)`);
      const quiet = await createApplication(tx, { name: 'quiet', environment: 'sandbox', redirectUrl: null }, 1);
      await tx.run(sql`update endpoints set application_id = ${quiet.id}, enabled = 0 where id = ${idle.id}`);
    });
    const lags = await countLags(storage);
    assert.deepEqual(
      [...lags].sort(),
      [
        [hanging.id, 2],
        [idle.id, 0],
      ].sort(),
    );
  });
});
