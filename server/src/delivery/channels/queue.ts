/**
 * What waits for one endpoint. First in, first out, with a bounded number under way; where order is kept, events of one
 * item go one at a time, so that their attempts arrive in order.
 */
import type { Job } from '../lanes/lane.ts';

export type Queue = {
  push(job: Job): void;
  /** Jobs that wait and are not parked (those are bounded by their claims). */
  readonly live: number;
  readonly size: number;
  readonly underWay: number;
  /** All of them: under way, then waiting. */
  jobs(): Iterable<Job>;
  /** Starts what may start. */
  kick(): void;
  /** Starts this one now, whatever the endpoint may be given else; only while nothing is under way. */
  probe(job: Job): void;
  /** Takes out the waiting jobs that `which` accepts; those of replays go back to them and are not in the answer. */
  take(which: (job: Job) => boolean): Job[];
};

/** Counts what waits in all queues: memory is bounded in total too. */
export type Total = { queued: number };

/** Started jobs at the front of the array are dropped in blocks of this many. */
const COMPACT_AT = 256;

/**
 * `start` must call `finished` once, later. `maySend` says no while results pile up, the lease is in doubt or the endpoint
 * rests. `admit` says no to a job that has to wait behind a parked one of its item, and has then dealt with it.
 */
export function createQueue(options: {
  total: Total;
  concurrency: () => number;
  ordered: () => boolean;
  maySend: () => boolean;
  admit: (job: Job) => boolean;
  start: (job: Job, finished: () => void) => void;
}): Queue {
  const { total } = options;
  let ready: Job[] = [];
  let first = 0;
  let live = 0;
  const underWay = new Set<Job>();
  /** Items with a job under way, and what waits behind it. */
  const busy = new Map<number, Job[]>();
  let chained = 0;

  function leave(job: Job) {
    total.queued -= 1;
    if (!job.parked) live -= 1;
  }

  function next(): Job | undefined {
    while (first < ready.length) {
      const job = ready[first]!;
      first += 1;
      const behind = job.event.itemId === null ? undefined : busy.get(job.event.itemId);
      if (behind) {
        behind.push(job);
        chained += 1;
        continue;
      }
      leave(job);
      if (options.admit(job)) return job;
    }
    return undefined;
  }

  function run(job: Job) {
    const { itemId } = job.event;
    underWay.add(job);
    if (itemId !== null && options.ordered() && !busy.has(itemId)) busy.set(itemId, []);
    options.start(job, () => {
      underWay.delete(job);
      if (itemId !== null && busy.has(itemId)) runBehind(itemId, busy.get(itemId)!);
      kick();
    });
  }

  function runBehind(itemId: number, behind: Job[]) {
    while (behind.length > 0 && options.maySend() && underWay.size < options.concurrency()) {
      const job = behind.shift()!;
      chained -= 1;
      leave(job);
      if (!options.admit(job)) continue;
      run(job);
      return;
    }
    busy.delete(itemId);
    if (behind.length === 0) return;
    ready = [...behind, ...ready.slice(first)];
    first = 0;
    chained -= behind.length;
  }

  function kick() {
    while (first < ready.length && underWay.size < options.concurrency() && options.maySend()) {
      const job = next();
      if (!job) break;
      run(job);
    }
    if (first === ready.length) {
      ready = [];
      first = 0;
    } else if (first >= COMPACT_AT) {
      ready = ready.slice(first);
      first = 0;
    }
  }

  return {
    push(job) {
      ready.push(job);
      total.queued += 1;
      if (!job.parked) live += 1;
      kick();
    },
    get live() {
      return live;
    },
    get size() {
      return ready.length - first + chained;
    },
    get underWay() {
      return underWay.size;
    },
    *jobs() {
      yield* underWay;
      for (let index = first; index < ready.length; index += 1) yield ready[index]!;
      for (const behind of busy.values()) yield* behind;
    },
    kick,
    probe: run,
    take(which) {
      const taken: Job[] = [];
      const keep = (job: Job) => {
        if (!which(job)) return true;
        leave(job);
        if (job.replay) job.replay.drop();
        else taken.push(job);
        return false;
      };
      ready = ready.slice(first).filter(keep);
      first = 0;
      for (const [itemId, behind] of busy) {
        const kept = behind.filter(keep);
        chained -= behind.length - kept.length;
        busy.set(itemId, kept);
      }
      return taken;
    },
  };
}
