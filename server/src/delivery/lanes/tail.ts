/** Follows the tails of the leased lanes, and hands each event to the queues of the endpoints that it matches. */
import type { LoggedEvent } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import { type Channel, type Channels, isHungry, mayRead } from '../channels/channels.ts';
import type { Job } from '../job.ts';
import { fallBehind, isHanded } from './lagging.ts';
import type { Lane } from './lane.ts';
import { readHead, readHeads, readTail, readTails } from './reader.ts';

/** Events read at once of one lane: the main thread is held for about 1 ms. */
const READ_LIMIT = 200;
/** In one statement for several lanes; what comes of it arrives in pieces, each of which holds the main thread for about 1 ms. */
const READ_TOGETHER_LIMIT = 800;
/** Between a lane's settled position and its newest event read; a receiver that hangs holds it until it lags. */
const WINDOW_MAX = 10_000;
export type Tail = {
  /** Reads what has moved, until nothing more can be handed over. Single-flight. Never rejects. */
  read(): Promise<void>;
  /** Which lanes have moved is not known: ask for the heads first. */
  askHeads(): void;
  /** Hands over what was read before and had to wait. */
  hand(): void;
  stop(): void;
};

export function createTail(options: {
  storage: Storage;
  lanes: ReadonlyMap<number, Lane>;
  channels: Channels;
  monotonicMs: () => number;
  reload: () => Promise<void>;
  /** The channel lags on a lane that has events for it. */
  onBehind: (channel: Channel) => void;
  onTrouble: (error: unknown) => void;
}): Tail {
  const { lanes, channels, monotonicMs } = options;
  let reading: Promise<void> | null = null;
  let again = false;
  let headsWanted = false;
  let stopped = false;

  const readable = (lane: Lane) =>
    lane.moved && !lane.lost && lane.leavingSince === null && lane.pending.length === 0 && lane.window.size < WINDOW_MAX;

  function read(): Promise<void> {
    again = true;
    reading ??= readAll();
    return reading;
  }

  async function readAll(): Promise<void> {
    // `reading` is set by then, also where there is nothing to read.
    await null;
    try {
      while (again && !stopped) {
        again = false;
        if (headsWanted) await readMoved();
        const moved = [...lanes.values()].filter(readable);
        if (options.storage.parallelReads) await readTogether(moved);
        else await readByTurns(moved);
        hand();
        again ||= [...lanes.values()].some(readable);
      }
    } catch (error) {
      options.onTrouble(error);
    } finally {
      reading = null;
    }
  }

  async function readMoved() {
    headsWanted = false;
    for (const { lane: number, head } of await readHeads(options.storage)) {
      const lane = lanes.get(number);
      if (lane && head > lane.read) lane.moved = true;
    }
  }

  /**
   * SQLite reads at once, and answers when the disk has what it saw. Between two lanes the network has its turn; the disk is
   * waited for once for all of them. Lane by lane, its time limited how many could be followed: where it took 8 ms longer, the
   * slowest 1 % of 2,000 deliveries a second came after 1.7 s instead of 0.05.
   */
  async function readByTurns(moved: readonly Lane[]) {
    const reads: Promise<void>[] = [];
    for (const lane of moved) {
      const read = readLane(lane).then(hand);
      // Told below, where all of them are waited for.
      read.catch(() => {});
      reads.push(read);
      if (moved.length > 1) await new Promise(setImmediate);
    }
    await Promise.all(reads);
    // There may always be more, and reading alone never ends a turn.
    if (moved.some((lane) => lane.moved)) await new Promise(setImmediate);
  }

  async function readLane(lane: Lane) {
    lane.moved = false;
    try {
      if (nobodyFollows(lane)) return await passOver(lane);
      const after = lane.read;
      const { events, configurationVersion } = await readTail(options.storage, lane.number, after, READ_LIMIT);
      await know(configurationVersion);
      take(lane, after, events, READ_LIMIT);
    } catch (error) {
      lane.moved = true;
      throw error;
    }
  }

  /** To PostgreSQL each statement is a round trip. */
  async function readTogether(moved: readonly Lane[]) {
    const [passed, followed] = [moved.filter(nobodyFollows), moved.filter((lane) => !nobodyFollows(lane))];
    if (followed.length < 2) return void (await Promise.all(moved.map(readLane)));
    const limit = Math.min(READ_LIMIT, Math.ceil(READ_TOGETHER_LIMIT / followed.length));
    for (const lane of followed) lane.moved = false;
    try {
      const positions = followed.map(({ number, read }) => ({ lane: number, afterSeq: read }));
      const [tails] = await Promise.all([readTails(options.storage, positions, limit), ...passed.map(readLane)]);
      await know(tails.configurationVersion);
      for (const [index, lane] of followed.entries()) take(lane, positions[index]!.afterSeq, tails.lanes.get(lane.number) ?? [], limit);
    } catch (error) {
      for (const lane of followed) lane.moved = true;
      throw error;
    }
  }

  async function know(configurationVersion: number | null) {
    if (configurationVersion !== null && configurationVersion !== channels.version) await options.reload();
  }

  /** Where one read fails, those beside it go on, and the next pass may be faster than they: what was asked before it is stale. */
  const isStale = (lane: Lane, after: number) => lane.read !== after || lane.pending.length > 0;

  function take(lane: Lane, after: number, events: LoggedEvent[], limit: number) {
    if (isStale(lane, after)) {
      lane.moved = true;
      return;
    }
    if (events.length === limit) lane.moved = true;
    lane.read = events.at(-1)?.seq ?? lane.read;
    lane.pending = events;
  }

  function hand() {
    if (stopped) return;
    let emptied = false;
    for (const lane of lanes.values()) {
      if (lane.pending.length === 0 || lane.lost || lane.leavingSince !== null) continue;
      const handed = lane.pending.findIndex((event) => !handEvent(lane, event));
      lane.pending = handed === -1 ? [] : lane.pending.slice(handed);
      emptied ||= readable(lane);
    }
    if (emptied && !reading) void read();
  }

  const nobodyFollows = (lane: Lane) => lane.behind === channels.size && lane.window.size === 0;

  /** All endpoints lag here: what comes is for their own reads, and costs nothing until then. */
  async function passOver(lane: Lane) {
    const after = lane.read;
    const { head, configurationVersion } = await readHead(options.storage, lane.number);
    if (configurationVersion !== channels.version) await options.reload();
    if (!nobodyFollows(lane) || isStale(lane, after)) {
      lane.moved = true;
      return;
    }
    lane.window.pass(head);
    lane.read = Math.max(lane.read, head);
    lane.handed = lane.read;
    lane.done.clear();
    for (const id of lane.lags.keys()) {
      const channel = channels.get(id);
      if (channel) options.onBehind(channel);
    }
  }

  /** False when the event has to wait for room. */
  function handEvent(lane: Lane, event: LoggedEvent): boolean {
    const { seq } = event;
    const done = lane.done.get(seq);
    const targets: Channel[] = [];
    for (const id of event.erased ? [] : channels.match(event)) {
      if (done?.has(id)) continue;
      const channel = channels.get(id)!;
      const lag = lane.lags.size === 0 ? undefined : lane.lags.get(id);
      if (lag && !lag.following) options.onBehind(channel);
      else if (isHanded(lag, seq)) targets.push(channel);
    }
    const behind = targets.filter((channel) => !hasRoom(channel));
    if (behind.length > 0) {
      if (behind.some(mustWait)) return false;
      for (const channel of behind) {
        fallBehind(channel, lane);
        options.onBehind(channel);
      }
    }
    if (done) lane.done.delete(seq);
    lane.window.open(seq, targets.length - behind.length);
    lane.handed = seq;
    const source = event.endpointId === null ? 'live' : 'test';
    for (const channel of targets) {
      if (behind.length > 0 && behind.includes(channel)) continue;
      channel.queue.push({ lane, event, source, attempts: 0, sent: 0, parked: false, lag: null, queuedAt: monotonicMs() } satisfies Job);
    }
    return true;
  }

  const hasRoom = (channel: Channel) => mayRead(channel) && channels.roomOf(channel) > 0;

  /**
   * A full queue makes reading wait, which costs nothing while all others have work of their own. As soon as another one
   * could do with more, the full one lags; and after two seconds in any case, by its age.
   */
  function mustWait(channel: Channel): boolean {
    if (!mayRead(channel)) return false;
    for (const other of channels.all()) if (other !== channel && isHungry(other)) return false;
    channels.block(channel);
    return true;
  }

  return {
    read,
    askHeads() {
      headsWanted = true;
    },
    hand,
    stop() {
      stopped = true;
    },
  };
}
