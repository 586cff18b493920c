/**
 * Runs the replays on the lanes of this node: each at its own rate, into the queues of its endpoint, beside the live
 * deliveries. Its jobs wait for nothing and nothing waits for them, so order against live traffic is not kept.
 */
import type { Clock } from '../../base/clock.ts';
import { LANES, type LoggedEvent, readEvents } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Channel, Channels } from '../channels/channels.ts';
import type { Job, Outcome, Park } from '../job.ts';
import type { Lane } from '../lanes/lane.ts';
import { LaneLost } from '../settling/settle.ts';
import { createPace, type Pace } from './pace.ts';
import { cancelOrphans, openReplays, type Replay, readWork } from './replays.ts';
import { readSelected } from './selection.ts';
import { type ReplayResult, settleReplay } from './settle.ts';

/** Jobs of one replay in its endpoint's queue and under way: as many as an endpoint sends at once by default. */
const UNDER_WAY_MAX = 16;
/** With this many deliveries waiting for another attempt a replay reads no further. */
const RETRIES_MAX = 1_000;
/** What a crash could repeat stays small, and a fast replay writes some 50 times a second. */
const FLUSH_AFTER_MS = 20;

type Waiting = { seq: number; attempts: number; sent: number; dueAt: number; taken: boolean };
/**
 * A replay on one lane. `owed` are read and not written: nothing beyond the first of them counts as done. `retries` are to
 * be read again when they are due.
 */
type Track = { lane: Lane; read: number; through: number; written: number; owed: Set<number>; retries: Map<number, Waiting> };
type Ready = { track: Track; event: LoggedEvent; attempts: number; sent: number };
type Active = {
  replay: Replay;
  /** Paused, cancelled, or done: nothing more is started. */
  halted: boolean;
  seen: Set<Lane>;
  tracks: Map<number, Track>;
  ready: Ready[];
  underWay: number;
  results: ReplayResult[];
  /** Of them, those of the flush that is under way. */
  writing: readonly ReplayResult[];
  pace: Pace;
  reading: boolean;
  flushing: Promise<void> | null;
  /** After the one that is under way. */
  nextFlush: Promise<void> | null;
  flushTimer: NodeJS.Timeout | null;
  paceTimer: NodeJS.Timeout | null;
};

export type Replays = {
  /** Looks after all of them: part of each heartbeat. */
  tend(): Promise<void>;
  /** Erased items: what was read of them is not sent any more. */
  forgetItems(itemIds: ReadonlySet<number>): void;
  /**
   * Sends the next event of a replay as the probe of its endpoint, which has nothing else to send. `claim` is asked once there is
   * one, and says whether the probe is this node's.
   */
  probe(channel: Channel, claim: () => Promise<boolean>): Promise<void>;
  /** Writes what there is. */
  flush(): Promise<void>;
  /** Writes what there is, and starts nothing more. */
  stop(): Promise<void>;
  /** Writes nothing more. */
  abandon(): void;
};

export function createReplays(options: {
  storage: Storage;
  clock: Clock;
  owner: string;
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  maySend: () => boolean;
  isWithdrawn: (event: LoggedEvent) => boolean;
  monotonicMs: () => number;
  /** After the commit. */
  onSettled: (replay: Replay, results: readonly ReplayResult[]) => void;
  onTrouble: (error: unknown) => void;
}): Replays {
  const { storage, clock, lanes, channels } = options;
  const actives = new Map<string, Active>();
  let version = -1;
  let stopped = false;
  let abandoned = false;

  function activate(replay: Replay): Active {
    const pace = createPace(replay.ratePerS, options.monotonicMs);
    const empty = { seen: new Set<Lane>(), tracks: new Map<number, Track>(), ready: [], results: [], writing: [] };
    const idle = { reading: false, flushing: null, nextFlush: null, flushTimer: null, paceTimer: null };
    return { ...empty, ...idle, replay, halted: false, underWay: 0, pace };
  }

  async function tend() {
    if (stopped || channels.version === -1) return;
    if (channels.version !== version) await load();
    for (const active of actives.values()) {
      forgetLost(active);
      if (!active.halted) await meetLanes(active);
      pump(active);
      await flush(active);
      if (active.halted && active.underWay === 0 && active.results.length === 0) close(active);
    }
  }

  /**
   * Making, pausing and ending a replay raise the configuration's version, and so does deleting a webhook: nothing is asked while
   * nothing happens. Each node cancels orphans itself before it goes on: it may load sooner than the others.
   */
  async function load() {
    const loading = channels.version;
    const open = await openReplays(storage);
    const orphans = await cancelOrphans(storage, open, clock.now());
    const running = open.filter(({ id, state }) => state === 'running' && !orphans.has(id));
    const ids = new Set(running.map(({ id }) => id));
    for (const active of actives.values()) active.halted = !ids.has(active.replay.id);
    for (const replay of running) if (!actives.has(replay.id)) actives.set(replay.id, activate(replay));
    version = loading;
  }

  function close(active: Active) {
    if (active.flushTimer) clearTimeout(active.flushTimer);
    if (active.paceTimer) clearTimeout(active.paceTimer);
    actives.delete(active.replay.id);
  }

  function forgetLost(active: Active) {
    for (const lane of active.seen) {
      if (!lane.lost) continue;
      active.seen.delete(lane);
      if (active.tracks.get(lane.number)?.lane === lane) active.tracks.delete(lane.number);
    }
    active.ready = active.ready.filter(({ track }) => !track.lane.lost);
    active.results = active.results.filter(({ lane }) => !lane.lost);
  }

  async function meetLanes(active: Active) {
    const fresh = [...lanes.values()].filter((lane) => !active.seen.has(lane));
    if (fresh.length === 0) return;
    const { ranges, retries } = await readWork(storage, active.replay);
    for (const lane of fresh) {
      active.seen.add(lane);
      const range = ranges.find((one) => one.lane === lane.number);
      if (!range) continue;
      const { position, through } = range;
      const track: Track = { lane, read: position, through, written: position, owed: new Set(), retries: new Map() };
      for (const { lane: number, ...waiting } of retries) {
        if (number === lane.number) track.retries.set(waiting.seq, { ...waiting, taken: false });
      }
      if (position < through || track.retries.size > 0) active.tracks.set(lane.number, track);
    }
  }

  /** The channel, where it may be given something now: one that rests or is off makes the replay wait. */
  function openChannel({ replay, halted }: Active): Channel | null {
    const channel = channels.get(replay.endpointId);
    if (stopped || halted || !channel || !options.maySend()) return null;
    return channel.gate.maySend() && !channel.gate.mustLag() ? channel : null;
  }

  function pump(active: Active) {
    const channel = openChannel(active);
    if (!channel) return;
    // A node has its share of the rate: as much as it has of the lanes.
    const share = lanes.size / LANES;
    while (active.underWay < UNDER_WAY_MAX && active.ready.length > 0) {
      // Its next owner reads it again: it is beyond what was written of the lane.
      if (active.ready[0]!.track.lane.leavingSince !== null) {
        active.ready.shift();
        continue;
      }
      const waitMs = active.pace.take(share);
      if (waitMs > 0) {
        active.paceTimer ??= setTimeout(() => {
          active.paceTimer = null;
          pump(active);
        }, waitMs);
        return;
      }
      push(active, channel, active.ready.shift()!);
    }
    if (active.ready.length === 0 && !active.reading) void read(active);
  }

  async function probe(channel: Channel, claim: () => Promise<boolean>): Promise<void> {
    for (const active of actives.values()) {
      if (active.replay.endpointId !== channel.endpoint.id || active.halted || active.reading) continue;
      if (active.ready.length === 0) await read(active);
      active.ready = active.ready.filter(({ track: { lane } }) => !lane.lost && lane.leavingSince === null);
      if (active.ready.length === 0) continue;
      const isClaimed = await claim();
      const one = active.ready.shift();
      if (!one) return;
      // Asking took its time: the lane may have gone over meanwhile, or the replay been paused.
      const { lane } = one.track;
      if (!isClaimed || active.halted || lane.lost || lane.leavingSince !== null) return readAgain(one);
      // Where nothing else is left to try, a failure is the event's own attempt: it is due, or it would not have been read.
      const isLast = active.ready.length === 0 && [...active.tracks.values()].every(isSpent);
      channel.queue.probe({ ...jobOf(active, one, 'probe'), ...(isLast ? { lastResortDueAt: clock.now() } : {}) });
      return;
    }
  }

  const isSpent = ({ read: seq, through, retries }: Track) => seq >= through && [...retries.values()].every(({ taken }) => taken);

  function push(active: Active, channel: Channel, one: Ready) {
    channel.queue.push(jobOf(active, one, 'replay'));
  }

  function jobOf(active: Active, one: Ready, source: 'replay' | 'probe'): Job {
    const { track, event, attempts, sent } = one;
    active.underWay += 1;
    const ticket = {
      settle(outcome: Outcome, park: Park | null) {
        active.underWay -= 1;
        if (abandoned || track.lane.lost) return;
        record(active, track, { lane: track.lane, event, sent, outcome, park });
        pump(active);
      },
      /** Its endpoint was let go of: it is the next again when that may be given something. */
      drop() {
        active.underWay -= 1;
        readAgain(one);
      },
    };
    return { lane: track.lane, event, source, attempts, sent, parked: true, lag: null, queuedAt: options.monotonicMs(), replay: ticket };
  }

  /** Read anew before it is sent: meanwhile it may have been erased. */
  function readAgain({ track, event, attempts, sent }: Ready) {
    if (!track.lane.lost) track.retries.set(event.seq, { seq: event.seq, attempts, sent, dueAt: 0, taken: false });
  }

  function record(active: Active, { retries }: Track, result: ReplayResult) {
    const { seq } = result.event;
    const { park, sent } = result;
    if (park?.state === 'retry') retries.set(seq, { seq, attempts: park.attempts, sent: sent + 1, dueAt: park.dueAt ?? 0, taken: false });
    else retries.delete(seq);
    active.results.push(result);
    active.flushTimer ??= setTimeout(() => {
      active.flushTimer = null;
      void flush(active);
    }, FLUSH_AFTER_MS);
  }

  /** What is due again comes first, then the next stretch of the lane that is least far. */
  async function read(active: Active) {
    active.reading = true;
    let found = false;
    try {
      // SQLite answers without a pause: the network has its turn between stretches.
      await new Promise(setImmediate);
      found = (await readDue(active)) || (await readOn(active));
    } catch (error) {
      options.onTrouble(error);
    } finally {
      active.reading = false;
    }
    if (found) pump(active);
  }

  async function readDue(active: Active): Promise<boolean> {
    const now = clock.now();
    // A batch has one result of each event: two would be written in no order.
    const unwritten = new Set([...active.results, ...active.writing].map(({ lane, event }) => `${lane.number}/${event.seq}`));
    for (const track of active.tracks.values()) {
      if (track.lane.leavingSince !== null) continue;
      const due = [...track.retries.values()]
        .filter(({ seq, dueAt, taken }) => dueAt <= now && !taken && !unwritten.has(`${track.lane.number}/${seq}`))
        .slice(0, UNDER_WAY_MAX);
      if (due.length === 0) continue;
      const seqs = due.map(({ seq }) => seq);
      const events = new Map((await readEvents(storage, track.lane.number, seqs)).map((event) => [event.seq, event]));
      for (const waiting of due) {
        const event = events.get(waiting.seq);
        waiting.taken = true;
        const { attempts, sent } = waiting;
        if (event && !event.erased && !options.isWithdrawn(event)) active.ready.push({ track, event, attempts, sent });
        else if (event) record(active, track, { lane: track.lane, event, sent, outcome: null, park: null });
        else {
          track.retries.delete(waiting.seq);
          track.owed.delete(waiting.seq);
        }
      }
      return true;
    }
    return false;
  }

  async function readOn(active: Active): Promise<boolean> {
    const { replay, tracks } = active;
    const waiting = [...tracks.values()].reduce((sum, { retries }) => sum + retries.size, 0);
    const track = [...tracks.values()].find(({ read: seq, through, lane }) => seq < through && !lane.lost && lane.leavingSince === null);
    if (!track || waiting >= RETRIES_MAX || active.halted) return false;
    const selection = { replayId: replay.id, applicationId: replay.applicationId, endpointId: replay.endpointId, filter: replay.filter };
    const range = { lane: track.lane.number, position: track.read, through: track.through };
    const { events, read: through } = await readSelected(storage, selection, range);
    track.read = through;
    for (const event of events) {
      if (options.isWithdrawn(event)) continue;
      track.owed.add(event.seq);
      active.ready.push({ track, event, attempts: 0, sent: 0 });
    }
    if (track.read >= track.through) {
      // By turns: the next lane is read when this one is through.
      tracks.delete(track.lane.number);
      tracks.set(track.lane.number, track);
    }
    return true;
  }

  /** What was recorded before it was called is written when it is over: a lane that goes over counts on that. */
  function flush(active: Active): Promise<void> {
    if (abandoned) return Promise.resolve();
    if (active.flushing) {
      active.nextFlush ??= active.flushing.then(() => {
        active.nextFlush = null;
        return flush(active);
      });
      return active.nextFlush;
    }
    active.flushing = write(active).finally(() => {
      active.writing = [];
      active.flushing = null;
    });
    return active.flushing;
  }

  async function write(active: Active) {
    const results = active.results.filter(({ lane }) => !lane.lost);
    active.results = [];
    active.writing = results;
    const positions: { track: Track; lane: Lane; position: number }[] = [];
    const settled = new Set(results);
    for (const track of active.tracks.values()) {
      if (track.lane.lost) continue;
      for (const { lane, event } of settled) if (lane === track.lane) track.owed.delete(event.seq);
      const position = track.owed.size === 0 ? track.read : Math.min(...track.owed) - 1;
      if (position !== track.written || results.some(({ lane }) => lane === track.lane))
        positions.push({ track, lane: track.lane, position });
    }
    const finished = [...active.tracks.values()].every(isThrough) && active.ready.length === 0 && active.underWay === 0;
    if (positions.length === 0 && !(finished && !active.halted)) return;
    try {
      const now = clock.now();
      const over = await settleReplay(storage, { owner: options.owner, now, replay: active.replay, results, positions, finished });
      for (const { track, position } of positions) track.written = position;
      options.onSettled(active.replay, results);
      if (over) active.halted = true;
    } catch (error) {
      active.results = results.map((result): ReplayResult => ({ ...result, repeated: true })).concat(active.results);
      // A lane that was taken over is let go of by the next heartbeat.
      if (!(error instanceof LaneLost)) options.onTrouble(error);
    }
  }

  const isThrough = ({ read: seq, through, owed, retries }: Track) => seq >= through && owed.size === 0 && retries.size === 0;

  return {
    tend,
    probe,
    forgetItems(itemIds) {
      for (const active of actives.values()) {
        const erased = ({ event }: Ready) => event.itemId !== null && itemIds.has(event.itemId);
        for (const one of active.ready.filter(erased)) readAgain(one);
        active.ready = active.ready.filter((one) => !erased(one));
      }
    },
    async flush() {
      for (const active of actives.values()) await flush(active);
    },
    async stop() {
      stopped = true;
      for (const active of actives.values()) {
        await flush(active);
        close(active);
      }
    },
    abandon() {
      stopped = true;
      abandoned = true;
      for (const active of actives.values()) close(active);
    },
  };
}
