/**
 * What waits for one endpoint. First in, first out, with a bounded number under way; where order is kept, events of one
 * item go one at a time, so that their attempts arrive in order.
 */
import type { Job } from '../job.ts';

export type Queue = {
  push(job: Job): void;
  /** Jobs that wait and are not parked (those are bounded by their claims). */
  readonly live: number;
  readonly size: number;
  /** Of these, jobs that wait for the outcome of a parked one of their item. */
  readonly held: number;
  readonly underWay: number;
  /** All of them: under way, then waiting. */
  jobs(): Iterable<Job>;
  /** Starts what may start. */
  kick(): void;
  /** Starts this one now, whatever the endpoint may be given else; only while nothing is under way. */
  probe(job: Job): void;
  /** Gives up what is held: each is dealt with by `held`. */
  yieldHeld(): void;
  /** Takes out the waiting jobs that `which` accepts; those of replays go back to them and are not in the answer. */
  take(which: (job: Job) => boolean): Job[];
};

/** Counts what waits in all queues: memory is bounded in total too. */
export type Total = { queued: number };

/** Started jobs at the front of the array are dropped in blocks of this many. */
const COMPACT_AT = 256;

/** `hold`: a parked one of its item comes first, and it may soon be known whether that is the item's fault or the receiver's. */
export type Admission = 'start' | 'hold' | 'refuse';

/**
 * `start` must call `finished` once, later; with `again` the job is the first that waits. `maySend` says no while results
 * pile up, the lease is in doubt or the endpoint rests. `admit` is asked again for each held job whenever something has
 * ended. `held` deals with a job that is not to be started. `stalled` is called when nothing is under way and nothing but
 * held jobs waits.
 */
export function createQueue(options: {
  total: Total;
  concurrency: () => number;
  ordered: () => boolean;
  maySend: () => boolean;
  admit: (job: Job) => Admission;
  held: (job: Job) => void;
  stalled: () => void;
  start: (job: Job, finished: (again?: boolean) => void) => void;
}): Queue {
  const { total } = options;
  let ready: Job[] = [];
  let first = 0;
  let live = 0;
  const underWay = new Set<Job>();
  /** Items with a job under way, and what waits behind it. */
  const busy = new Map<number, Job[]>();
  let chained = 0;
  /** By item, oldest first. They are in memory and in no table: an endpoint that is down has a position for them. */
  const held = new Map<number, Job[]>();
  let heldCount = 0;

  function leave(job: Job) {
    total.queued -= 1;
    if (!job.parked) live -= 1;
  }

  function next(): Job | undefined {
    while (first < ready.length) {
      const job = ready[first]!;
      first += 1;
      if (chain(job)) continue;
      const admission = options.admit(job);
      if (admission === 'hold') hold(job);
      else {
        leave(job);
        if (admission === 'start') return job;
        options.held(job);
      }
    }
    return undefined;
  }

  /** Whether it has to wait for another one of its item that is here. */
  function chain(job: Job): boolean {
    const { itemId } = job.event;
    if (itemId === null) return false;
    if (heldCount > 0 && held.has(itemId) && !job.parked && !job.replay) {
      hold(job);
      return true;
    }
    const behind = busy.get(itemId);
    if (behind === undefined) return false;
    behind.push(job);
    chained += 1;
    return true;
  }

  function hold(job: Job) {
    const behind = held.get(job.event.itemId!);
    if (behind) behind.push(job);
    else held.set(job.event.itemId!, [job]);
    heldCount += 1;
  }

  /** What is held, and then these, come before all that is ready. */
  function putFirst(behind: readonly Job[]) {
    ready = [...[...held.values()].flat(), ...behind, ...ready.slice(first)];
    first = 0;
    held.clear();
    heldCount = 0;
  }

  function run(job: Job) {
    const { itemId } = job.event;
    underWay.add(job);
    if (itemId !== null && options.ordered() && !busy.has(itemId)) busy.set(itemId, []);
    options.start(job, (again = false) => {
      underWay.delete(job);
      const behind = itemId === null ? undefined : busy.get(itemId);
      if (again) putBack(job, behind ?? []);
      else if (behind) runBehind(itemId!, behind);
      kick();
    });
  }

  function putBack(job: Job, behind: readonly Job[]) {
    total.queued += 1;
    if (!job.parked) live += 1;
    if (job.event.itemId !== null) busy.delete(job.event.itemId);
    chained -= behind.length;
    putFirst([job, ...behind]);
  }

  function runBehind(itemId: number, behind: Job[]) {
    // Held ones are older than those behind the one that has ended.
    while (heldCount === 0 && behind.length > 0 && options.maySend() && underWay.size < options.concurrency()) {
      const job = behind[0]!;
      const admission = options.admit(job);
      if (admission === 'hold') break;
      behind.shift();
      chained -= 1;
      leave(job);
      if (admission === 'start') return run(job);
      options.held(job);
    }
    busy.delete(itemId);
    if (behind.length === 0) return;
    chained -= behind.length;
    putFirst(behind);
  }

  /** Looks again at what is held, too. */
  function kick() {
    if (heldCount > 0) putFirst([]);
    startReady();
  }

  function startReady() {
    while (first < ready.length && underWay.size < options.concurrency() && options.maySend()) {
      const job = next();
      if (!job) break;
      run(job);
    }
    if (first === ready.length) {
      ready = [];
      first = 0;
      if (heldCount > 0 && underWay.size === 0 && options.maySend()) options.stalled();
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
      startReady();
    },
    get live() {
      return live;
    },
    get size() {
      return ready.length - first + chained + heldCount;
    },
    get held() {
      return heldCount;
    },
    get underWay() {
      return underWay.size;
    },
    *jobs() {
      yield* underWay;
      for (let index = first; index < ready.length; index += 1) yield ready[index]!;
      for (const behind of busy.values()) yield* behind;
      for (const behind of held.values()) yield* behind;
    },
    kick,
    probe: run,
    yieldHeld() {
      const jobs = [...held.values()].flat();
      held.clear();
      heldCount = 0;
      for (const job of jobs) {
        leave(job);
        options.held(job);
      }
    },
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
      for (const [itemId, behind] of held) {
        const kept = behind.filter(keep);
        heldCount -= behind.length - kept.length;
        if (kept.length > 0) held.set(itemId, kept);
        else held.delete(itemId);
      }
      for (const [itemId, behind] of busy) {
        const kept = behind.filter(keep);
        chained -= behind.length - kept.length;
        busy.set(itemId, kept);
      }
      return taken;
    },
  };
}
