/** For tests of endpoints that fail: a node with a clock of its own, receivers in a mood, and what became of them. */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SECOND_MS } from '../base/clock.ts';
import { sql } from '../storage/sql.ts';
import { BEATS_MAX, type Running, type World } from './testing.ts';

export const health = async ({ storage }: World, id: string) =>
  await storage.first<{ circuit: string; probes: number; next_probe_at: number | null; paused_until: number | null }>(
    sql`select circuit, probes, next_probe_at, paused_until from endpoint_health where endpoint_id = ${id}`,
  );
export const count = async ({ storage }: World, table: 'parked' | 'endpoint_positions', id: string) =>
  (await storage.first<{ count: number }>(
    table === 'parked'
      ? sql`select count(*) as count from parked where endpoint_id = ${id}`
      : sql`select count(*) as count from endpoint_positions where endpoint_id = ${id}`,
  ))!.count;

/** Heartbeats until it holds; each is a second of the node's own clock. */
export async function until(node: { delivery: Running; wait(ms: number): void }, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let beat = 0; !(await holds()); beat += 1) {
    assert.ok(beat < BEATS_MAX, `not reached: ${JSON.stringify(node.delivery.stats())}`);
    node.wait(SECOND_MS);
    await node.delivery.tick();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export async function startNode(world: World) {
  let monotonicMs = 0;
  const delivery = await world.start({ monotonicMs: () => monotonicMs });
  return {
    delivery,
    wait(ms: number) {
      monotonicMs += ms;
    },
  };
}

/** Answers what it is told to; keeps the ids of what it took. */
export function moody(first: number, headers: Record<string, string> = {}) {
  const state = { status: first, headers, taken: new Set<string>(), mostAtOnce: 0 };
  const answer = (_: IncomingMessage, response: ServerResponse, { id }: { id: string }) => {
    if (state.status < 300) state.taken.add(id);
    response.writeHead(state.status, state.headers).end();
  };
  return { state, answer };
}

/** Lanes in which there is more than was read. */
export async function unread({ storage }: World): Promise<number> {
  const row = await storage.first<{ lanes: number }>(
    sql`select count(*) as lanes from lane_heads h join lane_leases l on l.lane = h.lane where l.settled < h.head`,
  );
  return row!.lanes;
}

/** What operators were told, in order. */
export const told = async ({ storage }: World) =>
  (await storage.all<{ type: string }>(sql`select type from events where about_endpoint_id is not null order by seq`)).map(({ type }) =>
    type.replace('pontage.endpoint.', ''),
  );

/** Nothing under way, and all of it written. */
export const rests = ({ delivery }: Awaited<ReturnType<typeof startNode>>) => delivery.stats().underWay + delivery.stats().unflushed === 0;
