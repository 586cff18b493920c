/** The audit beside deliveries: real receivers that fail and come back, webhooks that are disabled, changed and deleted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { DAY_MS, HOUR_MS } from '../../base/clock.ts';
import { deleteEndpoint, updateEndpoint } from '../../endpoints/endpoints.ts';
import { enableEndpoint } from '../../endpoints/resume.ts';
import { sql } from '../../storage/sql.ts';
import { context, createWorld, POLICY, startReceiver, until, type World } from '../testing.ts';
import { type Audit, audit, balances } from './audit.ts';
import { CLASSES, type Class } from './classes.ts';

/** Numbers that look random and are the same in every run (Park and Miller). */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

async function balanced(world: World): Promise<Audit> {
  const found = await audit(world.storage, { from: 0 });
  assert.deepEqual(found.faults, []);
  assert.ok(found.balanced && found.hours.every(balances));
  return found;
}

function sumsOf({ hours }: Audit, endpointId: string): Record<Class | 'matched', number> {
  const mine = hours.filter((hour) => hour.endpointId === endpointId);
  const sum = (name: Class | 'matched') => mine.reduce((total, hour) => total + hour[name], 0);
  return Object.fromEntries((['matched', ...CLASSES] as const).map((name) => [name, sum(name)])) as Record<Class | 'matched', number>;
}

eachEngine('audit beside deliveries', (open) => {
  for (const seed of [11, 987_654]) {
    test(`a random story balances at every moment, and after a crash (${seed})`, async (t) => {
      const roll = dice(seed);
      const world = await createWorld(await open(t), t);
      const good = await startReceiver(t);
      let failsOneIn = 3;
      const weak = await startReceiver(t, (_, response) => response.writeHead(roll(failsOneIn) === 0 ? 500 : 200).end());
      const { endpoint: steady } = await world.endpoint(good.url);
      const { endpoint: failing } = await world.endpoint(weak.url);
      const { endpoint: changing } = await world.endpoint(good.url);
      const { endpoint: leaving } = await world.endpoint(weak.url);
      let delivery = await world.start({ nodeId: 'node_one' });
      const moves = [
        () => updateEndpoint(context(world), changing.id, { enabled: false }, POLICY),
        () => enableEndpoint(context(world), changing.id, roll(2) === 0 ? 'now' : 'stopped'),
        () => updateEndpoint(context(world), changing.id, { events: [roll(2) === 0 ? 'item.created' : 'item.account.deleted'] }, POLICY),
        async () => {
          await delivery.abandon();
          delivery = await world.start({ nodeId: 'node_one' });
        },
        async () => world.clock.advance(roll(2) === 0 ? HOUR_MS : DAY_MS / 4),
      ];
      const [audits, story] = [[] as Promise<Audit>[], 40];
      for (let step = 0; step < story; step += 1) {
        const items = Array.from({ length: 1 + roll(30) }, () => roll(25));
        delivery.wake(await world.append(items, roll(4) === 0 ? 'item.account.deleted' : 'item.created'));
        if (roll(3) === 0) await moves[roll(moves.length)]!();
        if (step === 25) await deleteEndpoint(context(world), leaving.id);
        if (roll(3) === 0) audits.push(balanced(world));
        if (roll(2) === 0) await delivery.tick();
        if (roll(4) === 0) await Promise.all(audits);
      }
      await Promise.all(audits);
      assert.ok(audits.length > 5);

      failsOneIn = Number.POSITIVE_INFINITY;
      await enableEndpoint(context(world), changing.id, 'stopped');
      await until(delivery, async () => {
        world.clock.advance(HOUR_MS);
        const found = await balanced(world);
        return found.hours.every((hour) => hour.inFlight + hour.lagging + hour.retry + hour.waiting === 0);
      });
      const found = await balanced(world);
      const { count } = (await world.storage.first<{ count: number }>(sql`select count(*) as count from events where type like 'item.%'`))!;
      assert.deepEqual(sumsOf(found, steady.id), { ...sumsOf(found, 'nobody'), matched: count, delivered: count });
      const weakSums = sumsOf(found, failing.id);
      assert.equal(weakSums.matched, count);
      assert.equal(weakSums.delivered + weakSums.dead, count);
      assert.equal(new Set(good.received.map(({ id }) => id)).size <= count, true);
      const left = sumsOf(found, leaving.id);
      assert.ok(left.matched > 0 && left.matched < count);
      assert.equal(left.delivered + left.skipped + left.dead, left.matched);
      await delivery.stop();
    });
  }
});
