/** Follows the tails of the leased lanes, and hands each event to the queues of the endpoints that it matches. */
import type { LoggedEvent } from '../../events/log.ts';
import type { Storage } from '../../storage/storage.ts';
import { type Channel, type Channels, QUEUE_MAX } from '../channels/channels.ts';
import type { Job, Lane } from './lane.ts';
import { readHeads, readTail } from './reader.ts';

/** Events read at once of one lane: the main thread is held for about 1 ms. */
const READ_LIMIT = 200;
/** Between a lane's settled position and its newest event read; a receiver that hangs holds it for one deadline at most. */
const WINDOW_MAX = 10_000;
/**
 * A full queue makes reading wait, which costs nothing while every other endpoint has work of its own. Where one has
 * none, it may be waiting for events behind this queue: after this long they are put aside for the full one.
 */
const PATIENCE_MS = 1_000;

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
  /** A live delivery that does not go to its queue now. */
  putAside: (job: Job, channel: Channel) => void;
  onTrouble: (error: unknown) => void;
}): Tail {
  const { lanes, channels, monotonicMs } = options;
  let reading: Promise<void> | null = null;
  let again = false;
  let headsWanted = false;
  let stopped = false;
  let patience: NodeJS.Timeout | null = null;

  const readable = (lane: Lane) => lane.moved && !lane.lost && lane.pending.length === 0 && lane.window.size < WINDOW_MAX;

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
        // PostgreSQL answers one lane while the next is asked; SQLite answers at once, and must let the network have its turn.
        if (options.storage.engine === 'postgres') {
          await Promise.all(moved.map(readLane));
          hand();
        } else {
          for (const lane of moved) {
            await readLane(lane);
            hand();
            if (moved.length > 1 || lane.moved) await new Promise(setImmediate);
          }
        }
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

  async function readLane(lane: Lane) {
    lane.moved = false;
    try {
      const { events, configurationVersion } = await readTail(options.storage, lane.number, lane.read, READ_LIMIT);
      if (events.length === READ_LIMIT) lane.moved = true;
      if (configurationVersion !== null && configurationVersion !== channels.version) await options.reload();
      lane.read = events.at(-1)?.seq ?? lane.read;
      lane.pending = events;
    } catch (error) {
      lane.moved = true;
      throw error;
    }
  }

  function hand() {
    if (stopped) return;
    let emptied = false;
    for (const lane of lanes.values()) {
      if (lane.pending.length === 0 || lane.lost) continue;
      const handed = lane.pending.findIndex((event) => !handEvent(lane, event));
      lane.pending = handed === -1 ? [] : lane.pending.slice(handed);
      emptied ||= readable(lane);
    }
    if (emptied && !reading) void read();
  }

  /** False when the event has to wait for room. */
  function handEvent(lane: Lane, event: LoggedEvent): boolean {
    const done = lane.done.get(event.seq);
    const ids = channels.match(event);
    const targets = done ? ids.filter((id) => !done.has(id)) : ids;
    for (const id of targets) if (mustWait(channels.get(id)!)) return false;
    if (done) lane.done.delete(event.seq);
    lane.window.open(event.seq, targets.length);
    for (const id of targets) {
      const channel = channels.get(id)!;
      const source = event.endpointId === null ? 'live' : 'test';
      const job: Job = { lane, event, source, attempts: 0, parked: false, queuedAt: monotonicMs() };
      if (channel.enabled && channel.queue.live < QUEUE_MAX) channel.queue.push(job);
      else options.putAside(job, channel);
    }
    return true;
  }

  function mustWait(channel: Channel): boolean {
    if (!channel.enabled || channel.slow || channel.queue.live < QUEUE_MAX) return false;
    const oldestAt = channel.queue.oldestLiveAt;
    if (oldestAt === null) return false;
    if (monotonicMs() - oldestAt >= PATIENCE_MS && [...channels.all()].some(idle)) {
      channel.slow = true;
      return false;
    }
    channel.blocking = true;
    patience ??= setTimeout(() => {
      patience = null;
      hand();
    }, PATIENCE_MS);
    return true;
  }

  const idle = ({ enabled, queue }: Channel) => enabled && queue.size === 0;

  return {
    read,
    askHeads() {
      headsWanted = true;
    },
    hand,
    stop() {
      stopped = true;
      if (patience) clearTimeout(patience);
    },
  };
}
