/**
 * Whether an event costs the same with a long history behind it, and with many endpoints around it: the time of
 * deliveries on a log of a thousand events beside one of millions, by turns.
 */

import { LANES } from '../../src/events/log.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import type { TestPostgres } from '../../test/support/postgres.ts';
import { type Figure, median } from '../figures.ts';
import { APPLICATION, addEndpoint, append, deliver, type Engine, ITEMS, openPlace, type Place } from './place.ts';
import { startReceivers } from './receivers.ts';

const GROWTH_LIMIT = 1.15;
const SHORT_HISTORY = 1_000;
const ROWS_AT_ONCE = 20_000;

export type History = { figures: Figure[]; growth: number };

export async function measureHistory(
  engine: Engine,
  server: TestPostgres | null,
  size: { histories: readonly number[]; endpoints: readonly number[]; rounds: number; deliveries: number },
): Promise<History> {
  const receivers = await startReceivers({ timed: false });
  const target = `${receivers.origin}/webhooks`;
  const few = await openPlace(engine, server);
  const figures: Figure[] = [];
  let growth = 1;
  try {
    await pretendHistory(few.storage, SHORT_HISTORY, (await addEndpoint(few, target)).id);
    for (const events of size.histories) {
      const many = await openPlace(engine, server);
      await pretendHistory(many.storage, events, (await addEndpoint(many, target)).id);
      growth = await compare(few, many, size);
      await many.close();
      figures.push({
        name: `cost per event, ${events.toLocaleString('en')} events of history over ${SHORT_HISTORY.toLocaleString('en')}, ${engine}`,
        value: growth,
        unit: 'x',
        limit: { below: GROWTH_LIMIT },
      });
    }
    for (const endpoints of size.endpoints) {
      const crowded = await openPlace(engine, server);
      await addStrangers(crowded, endpoints, target);
      await addEndpoint(crowded, target);
      const value = await compare(few, crowded, size);
      await crowded.close();
      figures.push({ name: `cost per event, ${endpoints.toLocaleString('en')} endpoints over 1, ${engine}`, value, unit: 'x' });
    }
  } finally {
    await few.close();
    await receivers.stop();
  }
  return { figures, growth };
}

/** Milliseconds of processor and wall for the same deliveries, the second place over the first. */
async function compare(few: Place, many: Place, size: { rounds: number; deliveries: number }): Promise<number> {
  const ratios: number[] = [];
  await oneRound(few, size.deliveries);
  await oneRound(many, size.deliveries);
  for (let round = 0; round < size.rounds; round += 1) {
    const first = round % 2 === 0 ? few : many;
    const a = await oneRound(first, size.deliveries);
    const b = await oneRound(first === few ? many : few, size.deliveries);
    ratios.push(first === few ? b / a : a / b);
  }
  return median(ratios);
}

/** Appends and delivers: both halves of what an event costs. Starting and stopping are not counted. */
async function oneRound(place: Place, deliveries: number): Promise<number> {
  let delivered = 0;
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const running = deliver(place, {
    onAttempt: () => {
      delivered += 1;
      if (delivered === deliveries) finish();
    },
  });
  await running.tick();
  const started = performance.now();
  await append(place.storage, 0, deliveries);
  running.wake();
  await finished;
  const took = performance.now() - started;
  await running.stop();
  return took;
}

/**
 * Rows as delivered events leave them, written without their deliveries: the log's past, evenly over the lanes, of a thousand
 * items, a second between two events of a lane; and an attempt of the endpoint for each.
 */
async function pretendHistory(storage: Storage, events: number, endpointId: string): Promise<void> {
  const perLane = Math.ceil(events / LANES);
  const content = JSON.stringify({
    ...{ account_id: 22908770, balance: 1678.12, item_id: 4568477, nb_deleted_transactions: 0, nb_new_transactions: 15 },
    ...{ nb_updated_transactions: 0, user_uuid: '766b2f5d-a942-492c-9ea7-2e5aa88cb672' },
  });
  const now = Date.now();
  const columns = ['segment', 'lane', 'seq', 'application_id', 'type', 'item_id', 'content', 'timestamp', 'committed_at'];
  const ofAttempts = [
    'segment',
    'lane',
    'seq',
    'endpoint_id',
    'source',
    'n',
    'at',
    'delivered',
    'status',
    'duration_ms',
    'type',
    'item_id',
  ];
  let rows: (string | number)[][] = [];
  let attempts: (string | number)[][] = [];
  const write = async () => {
    const [batch, made] = [rows, attempts];
    [rows, attempts] = [[], []];
    await storage.transaction(async (tx) => {
      await tx.insertMany('events', columns, batch);
      await tx.insertMany('attempts', ofAttempts, made);
    });
  };
  for (let lane = 0; lane < LANES; lane += 1) {
    for (let seq = 1; seq <= perLane; seq += 1) {
      const itemId = 4_568_000 + ((lane + LANES * seq) % ITEMS);
      const at = now - (perLane - seq) * 1_000;
      rows.push([1, lane, seq, APPLICATION, 'item.account.updated', itemId, content, at, at]);
      attempts.push([1, lane, seq, endpointId, 'live', 1, at + 5, 1, 200, 3.5, 'item.account.updated', itemId]);
      if (rows.length === ROWS_AT_ONCE) await write();
    }
  }
  if (rows.length > 0) await write();
  await storage.transaction(async (tx) => {
    await tx.run(sql`update lane_heads set head = ${perLane}`);
    await tx.run(sql`update lane_leases set settled = ${perLane}`);
  });
}

/** Endpoints of other applications, which none of the events concern. */
async function addStrangers(place: Place, endpoints: number, target: string): Promise<void> {
  const perApplication = 10;
  for (let number = 0; number < Math.ceil(endpoints / perApplication); number += 1) {
    const id = `app_${number + 1}`;
    await place.storage.transaction((tx) =>
      tx.run(sql`insert into applications (id, name, environment, client_id, client_secret_digest, created_at)
                 values (${id}, 'stranger', 'sandbox', ${id}, '', 0)`),
    );
    for (let endpoint = 0; endpoint < perApplication; endpoint += 1) await addEndpoint(place, target, id);
  }
}
