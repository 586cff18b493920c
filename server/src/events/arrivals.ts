/**
 * Waiting for an application's next event. One look at the heads serves everybody who waits, a few times a second, also
 * for events that another node has committed; where nobody waits nothing is asked.
 */
import { type Sql, sql } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';

/** How late an event may be noticed: four statements a second, and four more while events are committed. */
export const LOOK_EVERY_MS = 250;
/** Where more was committed since the last look, all who wait look for themselves: telling whose it was would cost more. */
const TOLD_APART_MAX = 2_000;

/** Runs `work` after `delayMs`, unless what it answers is called before. */
export type Later = (work: () => void, delayMs: number) => () => void;
export const systemLater: Later = (work, delayMs) => {
  const timer = setTimeout(work, delayMs);
  return () => clearTimeout(timer);
};

export type Arrivals = {
  readonly waiting: number;
  waitingOf(applicationId: string): number;
  /**
   * True when the application may have an event above `seqs` (one for each lane), false when the time is over, the
   * signal was raised or this was closed. Rejects where the database does not answer.
   */
  wait(applicationId: string, seqs: readonly number[], options: { timeoutMs: number; signal?: AbortSignal }): Promise<boolean>;
  /** Everybody who waits goes on at once, and nobody waits any more. */
  close(): void;
};

/** `seqs`: up to there it has nothing to come; each look that finds nothing of its application moves them on. */
type Waiter = { applicationId: string; seqs: readonly number[]; resolve(arrived: boolean): void; reject(error: unknown): void };

export function createArrivals({ reader, later = systemLater }: { reader: Reader; later?: Later }): Arrivals {
  const waiters = new Set<Waiter>();
  /** The heads at the last look, while somebody waits. */
  let known: readonly number[] | null = null;
  let cancelLook: (() => void) | null = null;
  let closed = false;

  function lookLater() {
    if (!closed) cancelLook ??= later(() => void look(), LOOK_EVERY_MS);
  }

  async function look() {
    const before = known;
    const looking = [...waiters];
    try {
      const rows = await reader.all<{ head: number }>(sql`select head from lane_heads order by lane`);
      const heads = rows.map(({ head }) => head);
      const whose = before === null ? new Set<string>() : await applicationsOf(reader, before, heads);
      known = heads;
      for (const waiter of looking) {
        // Whoever read the log before the last look did may have missed what that look found.
        const missed = isBehind(waiter.seqs, before ?? heads);
        if (missed || whose === 'everybody' || whose.has(waiter.applicationId)) waiter.resolve(true);
        else waiter.seqs = heads;
      }
    } catch (error) {
      for (const waiter of looking) waiter.reject(error);
    }
    cancelLook = null;
    if (waiters.size > 0) lookLater();
    else known = null;
  }

  return {
    get waiting() {
      return waiters.size;
    },
    waitingOf: (applicationId) => [...waiters].filter((waiter) => waiter.applicationId === applicationId).length,
    wait(applicationId, seqs, { timeoutMs, signal }) {
      if (closed || signal?.aborted) return Promise.resolve(false);
      const { promise, resolve, reject } = Promise.withResolvers<boolean>();
      const end = () => {
        waiters.delete(waiter);
        cancelTimeout();
        signal?.removeEventListener('abort', giveUp);
      };
      const waiter: Waiter = {
        applicationId,
        seqs,
        resolve(arrived) {
          end();
          resolve(arrived);
        },
        reject(error) {
          end();
          reject(error);
        },
      };
      const giveUp = () => waiter.resolve(false);
      const cancelTimeout = later(giveUp, timeoutMs);
      signal?.addEventListener('abort', giveUp);
      waiters.add(waiter);
      lookLater();
      return promise;
    },
    close() {
      closed = true;
      cancelLook?.();
      for (const waiter of waiters) waiter.resolve(false);
    },
  };
}

function isBehind(seqs: readonly number[], heads: readonly number[]): boolean {
  return heads.some((head, lane) => head > seqs[lane]!);
}

/** Whose events were committed between two looks. */
async function applicationsOf(
  reader: Reader,
  before: readonly number[],
  heads: readonly number[],
): Promise<ReadonlySet<string> | 'everybody'> {
  const moved = heads.map((head, lane) => ({ lane, after: before[lane]!, head })).filter(({ after, head }) => head > after);
  if (moved.length === 0) return new Set();
  if (moved.reduce((sum, { after, head }) => sum + head - after, 0) > TOLD_APART_MAX) return 'everybody';
  const ranges: Sql[] = moved.map(({ lane, after, head }) => sql`(lane = ${lane} and seq > ${after} and seq <= ${head})`);
  const rows = await reader.all<{ application_id: string }>(
    sql`select distinct application_id from events where ${ranges.reduce((all, range) => sql`${all} or ${range}`)}`,
  );
  return new Set(rows.map((row) => row.application_id));
}
