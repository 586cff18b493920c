/**
 * One endpoint is down while events go on: what it costs in rows, bytes and memory, how soon a restarted server is at
 * work, what its healthy neighbour feels, and how fast the backlog drains when it is back.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '../../src/base/clock.ts';
import { CONCURRENCY_DEFAULT } from '../../src/endpoints/limits.ts';
import { LANES } from '../../src/events/log.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Figure } from '../figures.ts';
import { addEndpoint, append, deliver, type Place, pause } from './place.ts';
import { startReceivers } from './receivers.ts';

const RESTART_LIMIT_MS = 1_000;
/** What a dead endpoint may leave behind: a position per lane, and what was under way when it was found dead. */
const ROWS_LIMIT = LANES + CONCURRENCY_DEFAULT + 10;
/** More than the longest pause between two probes. */
const PROBE_DUE_MS = 20 * 60_000;
const STEP_EVENTS = 10_000;

export type Dead = { figures: Figure[]; rows: number; restartMs: number; drainPerSecond: number; bytesPerEvent: number };

export async function measureDeadEndpoint(place: Place, events: number): Promise<Dead> {
  const { engine } = place;
  let offsetMs = 0;
  const clock = { now: () => systemClock.now() + offsetMs };
  const healthy = await startReceivers({ timed: false });
  const gone = await startReceivers({ timed: false });
  const { port } = gone;
  await gone.stop();
  await addEndpoint(place, `${healthy.origin}/healthy`);

  const bytesBefore = await place.bytes();
  const together = await feed(place, events, () => {});
  const bytesPerEvent = ((await place.bytes()) - bytesBefore) / events;

  const dead = await addEndpoint(place, `http://127.0.0.1:${port}/dead`);
  const heapBefore = heapMb();
  let heapBehind = 0;
  const beside = await feed(place, events, () => {
    heapBehind = heapMb();
  });
  const rows = await rowsOf(place, dead.id);

  const reopened = performance.now();
  const second = place.reopen();
  const running = deliver({ storage: second, vault: place.vault }, { clock });
  await running.tick();
  const restartMs = performance.now() - reopened;
  if (running.stats().lanes !== LANES) throw new Error('the restarted delivery has not all lanes');

  const back = await startReceivers({ timed: false, port });
  offsetMs += PROBE_DUE_MS;
  const drainStarted = performance.now();
  const before = running.stats().delivered;
  while (running.stats().delivered - before < events) await pause(5);
  const drainPerSecond = (events / (performance.now() - drainStarted)) * 1_000;
  await running.stop();
  await second.close();
  await Promise.all([healthy.stop(), back.stop()]);
  const left = await rowsOf(place, dead.id);
  if (left.positions + left.parked > 0) throw new Error(`after the drain ${JSON.stringify(left)} are left`);

  const name = (what: string) => `${what}, ${events.toLocaleString('en')} events behind, ${engine}`;
  const figures: Figure[] = [
    { name: name('rows of a dead endpoint'), value: rows.positions + rows.parked, unit: '', limit: { below: ROWS_LIMIT + 1 } },
    { name: name('heap that grew meanwhile'), value: heapBehind - heapBefore, unit: 'MB' },
    { name: name('restart'), value: restartMs, unit: 'ms', limit: { below: RESTART_LIMIT_MS } },
    { name: name('its neighbour beside it'), value: beside, unit: '/s', peer: together, ratio: beside / together },
    { name: name('drain'), value: drainPerSecond, unit: '/s', peer: together, ratio: drainPerSecond / together },
    { name: `bytes per delivered event, ${engine}`, value: bytesPerEvent, unit: 'B' },
  ];
  return { figures, rows: rows.positions + rows.parked, restartMs, drainPerSecond, bytesPerEvent };
}

/** Appends events while delivery runs, and waits until the healthy endpoint has them all. Deliveries per second. */
async function feed(place: Place, events: number, atEnd: () => void): Promise<number> {
  const running = deliver(place);
  await running.tick();
  const started = performance.now();
  for (let first = 0; first < events; first += STEP_EVENTS) {
    await append(place.storage, first, Math.min(STEP_EVENTS, events - first));
    running.wake();
    while (running.stats().delivered < first) await pause(5);
  }
  while (running.stats().delivered < events) await pause(5);
  const perSecond = (events / (performance.now() - started)) * 1_000;
  atEnd();
  await running.stop();
  return perSecond;
}

async function rowsOf({ storage }: Place, endpointId: string): Promise<{ positions: number; parked: number }> {
  const row = await storage.first<{ positions: number; parked: number }>(sql`
    select (select count(*) from endpoint_positions where endpoint_id = ${endpointId}) as positions,
      (select count(*) from parked where endpoint_id = ${endpointId}) as parked`);
  return row!;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapMb(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 1_048_576;
}
