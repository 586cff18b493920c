/**
 * What waits for one endpoint. First in, first out, with a bounded number under way; events of one item go one at a
 * time, so that their first attempts arrive in order.
 */
import type { Job } from '../lanes/lane.ts';

export type Queue = {
  push(job: Job): void;
  /** Live jobs that wait (parked ones are bounded by their claims). */
  readonly live: number;
  readonly size: number;
  readonly underWay: number;
  /** When the oldest live job came in (monotonic ms), or null. */
  readonly oldestLiveAt: number | null;
  /** Starts what may start. */
  kick(): void;
  /** Takes out the waiting jobs that `which` accepts. */
  take(which: (job: Job) => boolean): Job[];
};

/** Started jobs at the front of the array are dropped in blocks of this many. */
const COMPACT_AT = 256;

/** `start` must call `finished` once, later. `maySend` says no while results pile up or the lease is in doubt. */
export function createQueue(options: {
  concurrency: number;
  maySend: () => boolean;
  start: (job: Job, finished: () => void) => void;
}): Queue {
  let ready: Job[] = [];
  let first = 0;
  let underWay = 0;
  let live = 0;
  /** Items with a job under way, and what waits behind it. */
  const busy = new Map<number, Job[]>();
  let chained = 0;

  function next(): Job | undefined {
    while (first < ready.length) {
      const job = ready[first]!;
      first += 1;
      const behind = job.event.itemId === null ? undefined : busy.get(job.event.itemId);
      if (!behind) return job;
      behind.push(job);
      chained += 1;
    }
    return undefined;
  }

  function run(job: Job) {
    const { itemId } = job.event;
    if (!job.parked) live -= 1;
    underWay += 1;
    if (itemId !== null && !busy.has(itemId)) busy.set(itemId, []);
    options.start(job, () => {
      underWay -= 1;
      if (itemId !== null) {
        const behind = busy.get(itemId)!;
        if (behind.length === 0) busy.delete(itemId);
        else if (options.maySend()) {
          chained -= 1;
          run(behind.shift()!);
          return;
        } else {
          ready = [...behind, ...ready.slice(first)];
          first = 0;
          chained -= behind.length;
          busy.delete(itemId);
        }
      }
      kick();
    });
  }

  function kick() {
    while (underWay < options.concurrency && first < ready.length && options.maySend()) {
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
      return underWay;
    },
    get oldestLiveAt() {
      let oldest: number | null = null;
      for (let index = first; index < ready.length; index += 1) {
        if (ready[index]!.parked) continue;
        oldest = ready[index]!.queuedAt;
        break;
      }
      if (chained > 0) {
        for (const behind of busy.values()) {
          for (const job of behind) if (!job.parked && (oldest === null || job.queuedAt < oldest)) oldest = job.queuedAt;
        }
      }
      return oldest;
    },
    kick,
    take(which) {
      const taken: Job[] = [];
      const keep = (job: Job) => {
        if (!which(job)) return true;
        taken.push(job);
        if (!job.parked) live -= 1;
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
