/** Gathers results and settles them in batches, one flush in flight. */
import type { Clock } from '../../base/clock.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Result } from '../job.ts';
import { type LagWrites, putBack, takeWrites } from '../lanes/lagging.ts';
import type { Lane } from '../lanes/lane.ts';
import { LaneLost, type Place, settle } from './settle.ts';

/** A flush begins at this many results, or after {@link FLUSH_AFTER_MS}: measured as the knee of throughput. */
export const FLUSH_AT = 500;
export const FLUSH_AFTER_MS = 20;
/** Beyond this sending stops: what a crash could repeat stays bounded. */
export const UNFLUSHED_MAX = 2_000;

export type Settler = {
  /** Its row follows with the next flush, and with it the positions as they are then. */
  add(result: Result): void;
  /** A parked row that waited behind another one is due, once that one's result is written. */
  release(place: Place): void;
  revive(endpointId: string): void;
  readonly unflushed: number;
  /** Writes all there is, also positions that moved without results. Never rejects. */
  flush(): Promise<void>;
  /** No flush begins any more. */
  stop(): void;
};

export function createSettler(options: {
  storage: Storage;
  clock: Clock;
  owner: string;
  lanes: ReadonlyMap<number, Lane>;
  /** Written before the results that led to it. Never rejects. */
  before: () => Promise<void>;
  onSettled: (results: readonly Result[], released: readonly Place[]) => void;
  onTrouble: (error: unknown) => void;
  onLaneLost: () => Promise<void>;
}): Settler {
  let results: Result[] = [];
  let released: Place[] = [];
  let writing = 0;
  let running: Promise<void> | null = null;
  let timer: NodeJS.Timeout | null = null;
  let stopped = false;
  let again = false;
  let repeated = false;
  const reviving = new Set<string>();

  function schedule() {
    if (stopped || running) return;
    if (results.length >= FLUSH_AT) void flush();
    else timer ??= setTimeout(() => void flush(), FLUSH_AFTER_MS);
  }

  async function write(): Promise<'written' | 'failed' | 'lane lost'> {
    await options.before();
    const batch = results.filter(({ job }) => !job.lane.lost);
    const places = released.filter(({ lane }) => !lane.lost);
    results = [];
    released = [];
    const revive = [...reviving];
    reviving.clear();
    const touched = new Set(batch.map(({ job }) => job.lane));
    for (const { lane } of places) touched.add(lane);
    const lagging: { lane: Lane; writes: LagWrites }[] = [];
    for (const lane of options.lanes.values()) {
      const writes = takeWrites(lane, lane.window.settled);
      if (writes) lagging.push({ lane, writes });
      if (writes || lane.window.settled > lane.written || revive.length > 0) touched.add(lane);
    }
    const positions = [...touched].map((lane) => ({ lane, settled: lane.window.settled }));
    if (positions.length === 0) return 'written';
    writing = batch.length;
    try {
      const now = options.clock.now();
      await settle(options.storage, {
        owner: options.owner,
        now,
        results: batch,
        positions,
        lagging,
        released: places,
        revive,
        repeated,
      });
    } catch (error) {
      results = batch.concat(results);
      released = places.concat(released);
      for (const { lane, writes } of lagging) if (!lane.lost) putBack(lane, writes);
      for (const id of revive) reviving.add(id);
      if (error instanceof LaneLost) return 'lane lost';
      repeated = true;
      options.onTrouble(error);
      return 'failed';
    } finally {
      writing = 0;
    }
    repeated = false;
    for (const { lane, settled } of positions) lane.written = settled;
    try {
      options.onSettled(batch, places);
    } catch (error) {
      // A log or a metric that cannot be written must not end the process: the rows stand.
      options.onTrouble(error);
    }
    return 'written';
  }

  /** After a failure the next heartbeat tries again; until then results wait. */
  async function flush(): Promise<void> {
    if (timer) clearTimeout(timer);
    timer = null;
    if (stopped) return;
    if (running) {
      again = true;
      return running;
    }
    running = (async () => {
      let wrote: Awaited<ReturnType<typeof write>> = 'written';
      try {
        do {
          again = false;
          wrote = await write();
        } while (wrote === 'written' && again && !stopped);
      } finally {
        running = null;
      }
      // Not before this one has ended: whoever asks which lanes are left may hand one over, and writes what it has for that.
      if (wrote === 'lane lost') await options.onLaneLost().catch(options.onTrouble);
      if (wrote === 'written' && results.length > 0) schedule();
    })();
    return running;
  }

  return {
    add(result) {
      results.push(result);
      schedule();
    },
    release(place) {
      released.push(place);
      schedule();
    },
    revive: (id) => void reviving.add(id),
    get unflushed() {
      return results.length + writing;
    },
    flush,
    stop() {
      stopped = true;
      if (timer) clearTimeout(timer);
      timer = null;
    },
  };
}
