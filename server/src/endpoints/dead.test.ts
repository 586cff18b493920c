import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { MINUTE_MS } from '../base/clock.ts';
import { laneOf, readLane } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import { countDead, tellDead } from './dead.ts';

eachEngine('dead deliveries', (open) => {
  test('are told once for each endpoint and minute, when the minute is over', async (t) => {
    const storage = await open(t);
    await storage.transaction(async (tx) => {
      for (const app of ['app_1', 'app_2']) {
        await tx.run(
          sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at) values (${app}, 'a', 'sandbox', ${app}, 'd', 0)`,
        );
        await tx.run(
          sql`insert into endpoints (id, application_id, name, url, events, data_key_id, created_at, updated_at) values (${`wh_${app}`}, ${app}, 'W', 'https://x.example/h', '[]', 'k', 0, 0)`,
        );
      }
    });
    const die = (now: number, ...deaths: [string, number][]) => storage.transaction((tx) => countDead(tx, now, new Map(deaths)));
    await die(10, ['wh_app_1', 2], ['wh_app_2', 1]);
    await die(MINUTE_MS - 1, ['wh_app_1', 3]);
    await die(MINUTE_MS, ['wh_app_1', 7]);
    assert.equal(await tellDead(storage, MINUTE_MS - 1), 0);
    assert.equal(await tellDead(storage, MINUTE_MS), 2);
    assert.equal(await tellDead(storage, MINUTE_MS), 0);
    const told = async (app: string) =>
      (await readLane(storage, laneOf(`application:${app}`), 0, 10)).map(({ type, aboutEndpointId, applicationId, content }) => {
        const { count, from, until, cause } = JSON.parse(content) as Record<string, unknown>;
        return { type, aboutEndpointId, applicationId, count, from, until, cause };
      });
    const first = { type: 'pontage.delivery.dead', cause: 'attempts', from: 0, until: MINUTE_MS };
    assert.deepEqual(await told('app_1'), [{ ...first, aboutEndpointId: 'wh_app_1', applicationId: 'app_1', count: 5 }]);
    assert.deepEqual(await told('app_2'), [{ ...first, aboutEndpointId: 'wh_app_2', applicationId: 'app_2', count: 1 }]);
    assert.equal(await tellDead(storage, 2 * MINUTE_MS), 1);
    assert.deepEqual(
      (await told('app_1')).map(({ count, from }) => [count, from]),
      [
        [5, 0],
        [7, MINUTE_MS],
      ],
    );
  });
});
