/** Sends parked deliveries again when they are due. Nothing is polled: the next due time is known. */
import type { Clock } from '../../base/clock.ts';
import { type LoggedEvent, readEvents } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Job, Lane, Result } from '../lanes/lane.ts';
import { type ParkedRow, readDue, readNextDue } from '../lanes/reader.ts';
import type { Channel, Channels } from './channels.ts';

/** Parked deliveries of one endpoint in its queue at once: a hanging endpoint holds these in memory and no more. */
const CLAIMS_MAX = 256;
const READ_LIMIT = 500;

export type Due = {
  /** Claims what is due and has room. Single-flight. Never rejects. */
  check(): Promise<void>;
  /** Something was parked until then (epoch ms). */
  note(dueAt: number): void;
  /** These results are written: their claims end. */
  release(results: readonly Result[]): void;
  forgetLane(lane: Lane): void;
};

export function createDue(options: {
  storage: Storage;
  clock: Clock;
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  monotonicMs: () => number;
  mayClaim: () => boolean;
  /** What was parked for an endpoint or an event that no longer exists. */
  drop: (job: Job, endpointId: string) => void;
  onTrouble: (error: unknown) => void;
}): Due {
  const { storage, clock, lanes, channels } = options;
  let nextDueAt = 0;
  let running = false;
  /** A channel had no room for what was due. */
  let saturated = false;
  /** Released while a read was under way: its snapshot may still show them as they were. */
  const releasedMeanwhile = new Set<string>();

  async function check(): Promise<void> {
    if (running || clock.now() < nextDueAt || !options.mayClaim()) return;
    running = true;
    try {
      while (clock.now() >= nextDueAt && options.mayClaim()) await claim();
    } catch (error) {
      nextDueAt = 0;
      options.onTrouble(error);
    } finally {
      running = false;
    }
  }

  async function claim() {
    releasedMeanwhile.clear();
    nextDueAt = Number.POSITIVE_INFINITY;
    const now = clock.now();
    const all = [...channels.all()];
    const full = all.filter(({ claims }) => claims.size >= CLAIMS_MAX);
    saturated = full.length > 0;
    const without = all.filter((channel) => !channel.enabled || full.includes(channel));
    const claimed = all.reduce((sum, channel) => sum + (without.includes(channel) ? 0 : channel.claims.size), 0);
    const limit = READ_LIMIT + claimed;
    const rows = await readDue(
      storage,
      now,
      without.map(({ endpoint }) => endpoint.id),
      limit,
    );
    const fresh = rows.filter((row) => lanes.has(row.lane) && !channels.get(row.endpoint_id)?.claims.has(`${row.lane}/${row.seq}`));
    const events = await eventsOf(fresh);
    let taken = 0;
    for (const row of fresh) if (take(row, events)) taken += 1;
    if (rows.length < limit) note((await readNextDue(storage, now)) ?? Number.POSITIVE_INFINITY);
    else if (taken > 0) note(now);
  }

  async function eventsOf(rows: readonly ParkedRow[]): Promise<Map<string, LoggedEvent>> {
    const events = new Map<string, LoggedEvent>();
    for (const [lane, group] of Map.groupBy(rows, (row) => row.lane)) {
      const seqs = new Set(group.map((row) => row.seq));
      for (const event of await readEvents(storage, lane, [...seqs])) events.set(`${event.lane}/${event.seq}`, event);
    }
    return events;
  }

  function take(row: ParkedRow, events: ReadonlyMap<string, LoggedEvent>): boolean {
    const key = `${row.lane}/${row.seq}`;
    const lane = lanes.get(row.lane);
    if (!lane || releasedMeanwhile.has(`${row.endpoint_id}/${key}`)) return false;
    const channel = channels.get(row.endpoint_id);
    const event = events.get(key);
    const source = event && event.endpointId !== null ? 'test' : 'retry';
    const base = { lane, source, attempts: row.attempts, parked: true, queuedAt: options.monotonicMs() } as const;
    if (!channel || !event) {
      options.drop({ ...base, event: event ?? missing(row) }, row.endpoint_id);
      return false;
    }
    if (!channel.enabled) return false;
    if (channel.claims.size >= CLAIMS_MAX) {
      saturated = true;
      return false;
    }
    channel.claims.add(key);
    channel.queue.push({ ...base, event });
    return true;
  }

  function note(dueAt: number) {
    nextDueAt = Math.min(nextDueAt, dueAt);
  }

  function end(channel: Channel | undefined, endpointId: string, key: string) {
    channel?.claims.delete(key);
    if (running) releasedMeanwhile.add(`${endpointId}/${key}`);
  }

  return {
    check,
    note,
    release(results) {
      let released = false;
      for (const { job, endpointId, park } of results) {
        if (park?.dueAt != null) note(park.dueAt);
        if (!job.parked) continue;
        released = true;
        end(channels.get(endpointId), endpointId, `${job.lane.number}/${job.event.seq}`);
      }
      if (released && saturated) note(0);
    },
    forgetLane(lane) {
      for (const channel of channels.all()) {
        for (const key of channel.claims) if (key.startsWith(`${lane.number}/`)) channel.claims.delete(key);
      }
    },
  };
}

/** Only its place is known: retention has taken the rest. */
function missing(row: ParkedRow): LoggedEvent {
  return {
    id: '',
    segment: 0,
    lane: row.lane,
    seq: row.seq,
    applicationId: '',
    type: '',
    userUuid: null,
    itemId: null,
    accountId: null,
    refreshId: null,
    endpointId: null,
    content: '',
    timestamp: 0,
    committedAt: 0,
    sequences: null,
    traceparent: null,
    aboutEndpointId: null,
    erased: false,
  };
}
