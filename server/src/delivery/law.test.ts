/** Random stories of receivers that hang and fail, of endpoints turned off and on, and of crashes: the laws hold at the end of each. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { eachEngine } from '../../test/support/engines.ts';
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { updateEndpoint } from '../endpoints/endpoints.ts';
import { sql } from '../storage/sql.ts';
import { createWorld, POLICY, type Receiver, startReceiver, type World } from './testing.ts';

const SEEDS = [1, 2, 3];
const STEPS = 40;
const ITEMS = 12;

/** Lehmer's generator: the same story for the same seed. Uniform in [0, 1). */
function seeded(seed: number): () => number {
  let state = seed * 48_271 + 11;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

type Moody = Receiver & { heal(): void; answerHeld(): void; log: { id: string; item: number; what: 'received' | 'accepted' }[] };

/** Fails and hangs by chance until it is healed. */
async function startMoody(
  t: Parameters<typeof startReceiver>[0],
  random: () => number,
  moods: { fails: number; hangs: number },
): Promise<Moody> {
  const log: Moody['log'] = [];
  const held: (() => void)[] = [];
  let healed = false;
  const receiver = await startReceiver(t, (_, response: ServerResponse, { id, body }) => {
    const item = Number(/"item_id":(\d+)/.exec(body)![1]);
    log.push({ id, item, what: 'received' });
    const accept = () => {
      log.push({ id, item, what: 'accepted' });
      response.end();
    };
    if (!healed && random() < moods.hangs) held.push(accept);
    else if (!healed && random() < moods.fails) response.writeHead(500).end();
    else accept();
  });
  const answerHeld = () => {
    for (const answer of held.splice(0)) answer();
  };
  const heal = () => {
    healed = true;
    answerHeld();
  };
  return { ...receiver, log, answerHeld, heal };
}

async function settledOf({ storage }: World): Promise<Map<number, number>> {
  const rows = await storage.all<{ lane: number; settled: number }>(sql`select lane, settled from lane_leases`);
  return new Map(rows.map(({ lane, settled }) => [lane, settled]));
}

eachEngine('the laws of delivery', (open) => {
  for (const seed of SEEDS) {
    test(`each event settles once for each endpoint, and an item's events keep their order: story ${seed}`, async (t) => {
      const world = await createWorld(await open(t), t);
      // How often receivers and nodes ask depends on what runs when; the story's own dice do not.
      const stream = (number: number) => seeded(10 * seed + number);
      const random = stream(0);
      const receivers = [
        await startMoody(t, stream(1), { fails: 0, hangs: 0 }),
        await startMoody(t, stream(2), { fails: 0.2, hangs: 0 }),
        await startMoody(t, stream(3), { fails: 0.05, hangs: 0.1 }),
      ];
      const ofNodes = stream(4);
      const ids: string[] = [];
      for (const { url } of receivers) ids.push((await world.endpoint(url)).endpoint.id);
      let monotonicMs = 0;
      let restarts = 0;
      let appended = 0;
      const start = () => world.start({ nodeId: 'node_one', random: ofNodes, monotonicMs: () => monotonicMs, deadlineMs: 60 * SECOND_MS });
      let delivery = await start();
      let before = await settledOf(world);
      for (let step = 0; step < STEPS; step += 1) {
        const count = Math.floor(random() * 60);
        appended += count;
        if (count > 0) delivery.wake(await world.append(Array.from({ length: count }, () => Math.floor(random() * ITEMS))));
        monotonicMs += Math.floor(random() * 2_500);
        world.clock.advance(Math.floor(random() * 60 * SECOND_MS));
        const dice = random();
        const change = { enabled: random() < 0.5 };
        if (dice < 0.3) await updateEndpoint({ ...world, now: world.clock.now() }, ids[1]!, change, POLICY);
        else if (dice < 0.45) for (const { answerHeld } of receivers) answerHeld();
        else if (dice < 0.65) {
          restarts += 1;
          await (dice < 0.55 ? delivery.abandon() : delivery.stop(0));
          delivery = await start();
        }
        await delivery.tick();
        for (let turn = 0; turn < random() * 20; turn += 1) await new Promise(setImmediate);
        const settled = await settledOf(world);
        for (const [lane, position] of settled) assert.ok(position >= before.get(lane)!, `lane ${lane} went back`);
        before = settled;
      }
      assert.ok(restarts > 2);
      for (const receiver of receivers) receiver.heal();
      await updateEndpoint({ ...world, now: world.clock.now() }, ids[1]!, { enabled: true }, POLICY);
      const unsettled = async () =>
        (await world.storage.first<{ count: number }>(
          sql`select (select count(*) from parked) + (select count(*) from endpoint_positions)
                + (select count(*) from lane_leases l join lane_heads h on h.lane = l.lane where h.head > l.settled) as count`,
        ))!.count;
      while ((await unsettled()) > 0) {
        world.clock.advance(HOUR_MS);
        monotonicMs += 500;
        await delivery.tick();
        for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
      }
      await delivery.stop();
      const delivered = await world.storage.all<{ endpoint_id: string; lane: number; seq: number; times: number }>(
        sql`select endpoint_id, lane, seq, count(*) as times from attempts where delivered = 1 group by endpoint_id, lane, seq`,
      );
      assert.equal(delivered.length, appended * receivers.length);
      assert.deepEqual(
        delivered.filter(({ times }) => times !== 1),
        [],
      );
      for (const { log } of receivers) assertOrder(log);
    });
  }
});

/** No event of an item is received for the first time before all earlier ones were accepted. */
function assertOrder(log: Moody['log']) {
  for (const [item, entries] of Map.groupBy(log, (entry) => entry.item)) {
    const order = [...new Set(entries.map(({ id }) => id))].sort();
    const accepted = new Set<string>();
    const seen = new Set<string>();
    for (const { id, what } of entries) {
      if (what === 'accepted') accepted.add(id);
      else if (!seen.has(id)) {
        const missing = order.slice(0, order.indexOf(id)).filter((earlier) => !accepted.has(earlier));
        assert.deepEqual(missing, [], `${id} of item ${item} came too soon`);
        seen.add(id);
      }
    }
  }
}
