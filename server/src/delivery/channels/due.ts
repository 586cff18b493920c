/** Sends parked deliveries again when they are due. Nothing is polled: the next due time is known. */
import { type Clock, MINUTE_MS } from '../../base/clock.ts';
import { type LoggedEvent, readEvents } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Job, Result } from '../job.ts';
import type { Lane } from '../lanes/lane.ts';
import { type ParkedRow, readDue, readNextDue, readParked } from '../lanes/reader.ts';
import { bringWithinReach } from '../settling/reach.ts';
import type { Book } from './book.ts';
import type { Channel, Channels } from './channels.ts';

/** Parked deliveries of one endpoint in its queue at once: a hanging endpoint holds these in memory and no more. */
const CLAIMS_MAX = 256;
const READ_LIMIT = 500;
/**
 * When the oldest of an item is due, as many that wait behind it go to the queue with it, and are sent one after another
 * without a look at the database between: some 1,000 a second and item in place of 50.
 */
const FOLLOWERS_MAX = 20;
/** A clock that is set back by less makes nothing wait that would not wait as long by its schedule. */
const SET_BACK_MIN_MS = MINUTE_MS;

export type Due = {
  /** Claims what is due and has room. Single-flight. Never rejects. */
  check(): Promise<void>;
  /** Something was parked until then (epoch ms). */
  note(dueAt: number): void;
  /** Of lanes that are new here another clock, or this one before it was set back, may have set the times. */
  doubt(): void;
  /** These results are written: their claims end. */
  release(results: readonly Result[]): void;
  /** The channel's waiting jobs were let go of: so are these claims. */
  unclaim(channel: Channel, jobs: readonly Job[]): void;
  forgetLane(lane: Lane): void;
};

export function createDue(options: {
  storage: Storage;
  clock: Clock;
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  book: Book;
  monotonicMs: () => number;
  mayClaim: () => boolean;
  isWithdrawn: (event: LoggedEvent) => boolean;
  /** What was parked for an endpoint or an event that no longer exists. */
  drop: (job: Job, endpointId: string) => void;
  /** Due, and yet it has to wait behind an older one of its item. */
  wait: (job: Job, endpointId: string) => void;
  onTrouble: (error: unknown) => void;
}): Due {
  const { storage, clock, lanes, channels, book } = options;
  let nextDueAt = 0;
  let running = false;
  let checkedAt = Number.NEGATIVE_INFINITY;
  /** Times may lie further ahead than any rule has put them. */
  let doubtful = true;
  /** Something due could not go to a queue, and may when results are written. */
  let saturated = false;
  /** A read met rows that are to be deleted and still stand: they may have taken the place of others. */
  let outdated = false;
  /** Released while a read was under way: its snapshot may still show them as they were. */
  const releasedMeanwhile = new Set<string>();

  async function check(): Promise<void> {
    if (clock.now() < checkedAt - SET_BACK_MIN_MS) doubt();
    checkedAt = clock.now();
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
    const owned = [...lanes.values()].filter(({ leavingSince }) => leavingSince === null).map(({ number }) => number);
    if (doubtful) await reach(owned, now);
    const all = [...channels.all()];
    const full = all.filter(({ claims }) => claims.size >= CLAIMS_MAX);
    saturated = full.length > 0;
    const without = all.filter((channel) => !channel.gate.maySend() || channel.gate.mustLag() || full.includes(channel));
    const excluded = new Set(without);
    const claimed = all.reduce((sum, channel) => sum + (excluded.has(channel) ? 0 : channel.claims.size), 0);
    const limit = READ_LIMIT + claimed;
    const rows = await readDue(storage, { now, lanes: owned, without: without.map(({ endpoint }) => endpoint.id), limit });
    const fresh = rows.filter((row) => lanes.has(row.lane) && !isClaimed(row));
    const queued = [...fresh, ...(await followersOf(fresh))];
    const events = await eventsOf(queued);
    let moved = false;
    for (const row of queued) moved = take(row, events.get(`${row.lane}/${row.seq}`)) || moved;
    if (rows.length < limit) note((await readNextDue(storage, now, owned)) ?? Number.POSITIVE_INFINITY);
    else if (moved) note(now);
  }

  async function reach(owned: readonly number[], now: number) {
    doubtful = false;
    try {
      await bringWithinReach(storage, owned, now);
    } catch (error) {
      doubtful = true;
      throw error;
    }
  }

  const isClaimed = (row: { endpoint_id: string; lane: number; seq: number }) =>
    channels.get(row.endpoint_id)?.claims.has(`${row.lane}/${row.seq}`) ?? false;

  const isOrdered = (row: ParkedRow) => channels.get(row.endpoint_id)?.endpoint.ordering === 'item' && row.item_id !== null;
  const isHead = (row: ParkedRow) => book.head(row.lane, row.endpoint_id, row.item_id!) === row.seq;

  /** What waits behind the heads among these rows. */
  async function followersOf(rows: readonly ParkedRow[]): Promise<ParkedRow[]> {
    const wanted = new Map<string, { endpointId: string; lane: number; seqs: number[] }>();
    for (const row of rows) {
      if (!isOrdered(row) || !isHead(row)) continue;
      const behind = book.behind(row.lane, row.endpoint_id, row.item_id!, FOLLOWERS_MAX);
      const seqs = behind.filter((seq) => !isClaimed({ ...row, seq }));
      if (seqs.length === 0) continue;
      const key = `${row.endpoint_id}/${row.lane}`;
      const group = wanted.get(key);
      if (group) group.seqs.push(...seqs);
      else wanted.set(key, { endpointId: row.endpoint_id, lane: row.lane, seqs });
    }
    const followers: ParkedRow[] = [];
    for (const { endpointId, lane, seqs } of wanted.values()) followers.push(...(await readParked(storage, endpointId, lane, seqs)));
    return followers;
  }

  async function eventsOf(rows: readonly ParkedRow[]): Promise<Map<string, LoggedEvent>> {
    const events = new Map<string, LoggedEvent>();
    for (const [lane, group] of Map.groupBy(rows, (row) => row.lane)) {
      const seqs = new Set(group.map((row) => row.seq));
      for (const event of await readEvents(storage, lane, [...seqs])) events.set(`${event.lane}/${event.seq}`, event);
    }
    return events;
  }

  /** Whether it went to the queue. What is only written here is seen again, and differently, once that is committed. */
  function take(row: ParkedRow, event: LoggedEvent | undefined): boolean {
    const key = `${row.lane}/${row.seq}`;
    const lane = lanes.get(row.lane);
    if (!lane || lane.leavingSince !== null || releasedMeanwhile.has(`${row.endpoint_id}/${key}`)) return false;
    const channel = channels.get(row.endpoint_id);
    const source = event && event.endpointId !== null ? 'test' : 'retry';
    const base = {
      lane,
      source,
      attempts: row.attempts,
      sent: row.sent,
      parked: true,
      lag: null,
      queuedAt: options.monotonicMs(),
    } as const;
    if (!channel || !event || event.erased || options.isWithdrawn(event)) {
      channel?.claims.add(key);
      saturated = true;
      options.drop({ ...base, event: event ?? missing(row) }, row.endpoint_id);
      return false;
    }
    if (!channel.gate.maySend() || channel.gate.mustLag() || channel.claims.has(key)) return false;
    // Its owner wants it no more: its row goes with the next flush.
    if (!book.has({ lane: row.lane, endpointId: row.endpoint_id, itemId: row.item_id, seq: row.seq })) {
      outdated = true;
      return false;
    }
    if (channel.claims.size >= CLAIMS_MAX) {
      saturated = true;
      return false;
    }
    if (isOrdered(row) && !isHead(row) && !isBehindClaim(row)) {
      channel.claims.add(key);
      saturated = true;
      options.wait({ ...base, event }, row.endpoint_id);
      return false;
    }
    channel.claims.add(key);
    channel.queue.push({ ...base, event });
    return true;
  }

  /** The head is claimed already: whatever comes behind it is sent after it, or is refused when it fails. */
  const isBehindClaim = (row: ParkedRow) => isClaimed({ ...row, seq: book.head(row.lane, row.endpoint_id, row.item_id!) ?? row.seq });

  function note(dueAt: number) {
    nextDueAt = Math.min(nextDueAt, dueAt);
  }

  function doubt() {
    doubtful = true;
    note(0);
  }

  function end(channel: Channel | undefined, endpointId: string, key: string) {
    if (channel) {
      channel.claims.delete(key);
      channel.releases += 1;
    }
    if (running) releasedMeanwhile.add(`${endpointId}/${key}`);
  }

  return {
    check,
    note,
    doubt,
    release(results) {
      let released = false;
      for (const { job, endpointId, park } of results) {
        if (park?.dueAt != null) note(park.dueAt);
        if (!job.parked) continue;
        released = true;
        end(channels.get(endpointId), endpointId, `${job.lane.number}/${job.event.seq}`);
      }
      if ((released && saturated) || outdated) note(0);
      outdated = false;
    },
    unclaim(channel, jobs) {
      for (const { lane, event } of jobs) end(channel, channel.endpoint.id, `${lane.number}/${event.seq}`);
    },
    forgetLane(lane) {
      for (const channel of channels.all()) {
        for (const key of channel.claims) if (key.startsWith(`${lane.number}/`)) channel.claims.delete(key);
      }
    },
  };
}

/** Only its place is known: retention has taken the rest. */
export function missing(row: ParkedRow): LoggedEvent {
  return {
    id: '',
    segment: 0,
    lane: row.lane,
    seq: row.seq,
    applicationId: '',
    type: '',
    userUuid: null,
    itemId: row.item_id,
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
