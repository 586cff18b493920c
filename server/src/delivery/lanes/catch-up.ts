/**
 * Endpoints that lag read for themselves: a stretch of one lane at a time, into their own bounded queue, by turns with
 * each other and with the lanes' tails.
 */
import type { Storage } from '../../storage/storage.ts';
import { type Channel, type Channels, mayRead, QUEUE_MAX } from '../channels/channels.ts';
import type { Job } from '../job.ts';
import { follow, isWanted } from './lagging.ts';
import type { Lag } from './lane.ts';
import { readStretch } from './reader.ts';

/** Events read at once: on SQLite the main thread is held for less than half a millisecond. */
const READ_LIMIT = 100;
/**
 * Seqs behind that are worth a read while the queue has work. An endpoint that hangs is one or two behind with each event,
 * and read each of them: ten such endpoints made 740 reads where 90 healthy ones needed 300 (now 310 to 420), and as many
 * positions to write, on the database that the healthy ones wait for.
 */
const WORTH_READING_SEQS = 50;
/** Seqs that one read looks through, of all applications: so it touches one segment of the log, or two. */
const STRETCH_SEQS_MAX = 10_000;
/** Reads under way at once where they run beside one another, of PostgreSQL's 8 connections for reads. */
const READS_AT_ONCE = 4;

export type CatchUp = {
  /** The channel may have something to read, and room for it. Coalesced. */
  want(channel: Channel): void;
  stop(): void;
};

export function createCatchUp(options: {
  storage: Storage;
  channels: Channels;
  monotonicMs: () => number;
  reload: () => Promise<void>;
  onTrouble: (error: unknown) => void;
}): CatchUp {
  const { storage, channels } = options;
  const readsAtOnce = storage.parallelReads ? READS_AT_ONCE : 1;
  /** In the order of their turns. */
  const wanting = new Set<Channel>();
  let running = false;
  let stopped = false;

  function want(channel: Channel) {
    if (stopped || channel.lags.size === 0) return;
    wanting.add(channel);
    if (running) return;
    running = true;
    setImmediate(() => void run());
  }

  async function run() {
    try {
      while (wanting.size > 0 && !stopped) {
        const stretches: { channel: Channel; lag: Lag }[] = [];
        for (const channel of wanting) {
          wanting.delete(channel);
          const lags = nextOf(channel, readsAtOnce - stretches.length);
          for (const lag of lags) stretches.push({ channel, lag });
          if (lags.length > 0) wanting.add(channel);
          if (stretches.length >= readsAtOnce) break;
        }
        await Promise.all(stretches.map(({ channel, lag }) => read(channel, lag, stretches.length)));
        await new Promise(setImmediate);
      }
    } catch (error) {
      // The heartbeat asks again.
      wanting.clear();
      options.onTrouble(error);
    } finally {
      running = false;
    }
  }

  /** Lags of the channel that have something to read, the least recently served first. Those that have caught up follow. */
  function nextOf(channel: Channel, count: number): Lag[] {
    const found: Lag[] = [];
    if (channel.gone || !mayRead(channel)) return found;
    const hasRoom = channel.queue.live <= QUEUE_MAX / 2 && channels.roomOf(channel) > 0;
    const isThirsty = channel.queue.size <= channel.gate.concurrency();
    for (const lag of channel.lags.values()) {
      if (lag.following || lag.reading || lag.lane.leavingSince !== null) continue;
      if (lag.read >= lag.lane.handed) {
        // Sooner, what it has queued would make it lag again.
        if (isThirsty) follow(lag);
      } else if (hasRoom && found.length < count && (isThirsty || lag.lane.handed - lag.read >= WORTH_READING_SEQS)) found.push(lag);
    }
    for (const lag of found) {
      channel.lags.delete(lag.lane.number);
      channel.lags.set(lag.lane.number, lag);
    }
    return found;
  }

  async function read(channel: Channel, lag: Lag, among: number) {
    const { lane, read: afterSeq } = lag;
    const limit = Math.max(1, Math.min(READ_LIMIT, Math.floor(channels.roomOf(channel) / among)));
    const throughSeq = Math.min(lane.handed, afterSeq + STRETCH_SEQS_MAX);
    const { applicationId } = channel.endpoint;
    lag.reading = true;
    try {
      const { events, configurationVersion } = await readStretch(storage, {
        applicationId,
        lane: lane.number,
        afterSeq,
        throughSeq,
        limit,
      });
      if (configurationVersion !== null && configurationVersion !== channels.version) await options.reload();
      // It may have been paused meanwhile, and its queue let go of: then what was read is read again.
      if (lag.read !== afterSeq || lag.following || lane.lost || lane.leavingSince !== null || channel.gone || !mayRead(channel)) return;
      lag.read = events.length < limit ? throughSeq : events.at(-1)!.seq;
      for (const event of events) {
        if (event.erased || !isWanted(lag, event.seq) || !channels.match(event).includes(channel.endpoint.id)) continue;
        const source = event.endpointId === null ? 'live' : 'test';
        const job: Job = { lane, event, source, attempts: 0, sent: 0, parked: false, lag, queuedAt: options.monotonicMs() };
        lag.owed.add(event.seq);
        channel.queue.push(job);
      }
      lane.changed.add(lag);
    } finally {
      lag.reading = false;
    }
  }

  return {
    want,
    stop() {
      stopped = true;
      wanting.clear();
    },
  };
}
