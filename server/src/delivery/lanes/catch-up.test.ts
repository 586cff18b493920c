import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { render, type Sql } from '../../storage/sql.ts';
import { createWorld, range, startReceiver } from '../testing.ts';

eachEngine('catching up', (open) => {
  test('an endpoint that hangs, with work in its queue, costs no read for each event that comes', async (t) => {
    const storage = await open(t);
    const world = await createWorld(storage, t);
    let hangs = true;
    const held: (() => void)[] = [];
    const hanging = await startReceiver(t, (_, response) => {
      if (hangs) held.push(() => response.end());
      else response.end();
    });
    const good = await startReceiver(t);
    await world.endpoint(hanging.url);
    await world.endpoint(good.url);
    let stretches = 0;
    const counted = {
      ...storage,
      all: <T extends object>(query: Sql) => {
        if (render(query, '?').includes('and seq <= ?')) stretches += 1;
        return storage.all<T>(query);
      },
    };
    let monotonicMs = 0;
    const delivery = await world.start({ storage: counted, monotonicMs: () => monotonicMs });
    delivery.wake(await world.append(range(200)));
    await good.until(200);
    monotonicMs = 2_001;
    while (delivery.stats().lagging === 0) await delivery.tick();
    const before = stretches;
    for (const more of range(30)) {
      delivery.wake(await world.append([more]));
      await good.until(200 + more);
    }
    assert.equal(stretches - before, 0);
    hangs = false;
    for (const answer of held) answer();
    await hanging.until(230);
    assert.ok(stretches > before, 'what it has missed is read when it has done what it had');
    assert.equal(new Set(hanging.seqs()).size, 230);
  });
});
