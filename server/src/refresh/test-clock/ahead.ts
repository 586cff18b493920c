/**
 * Refreshes that are worked out ahead. What an unattended refresh of a predictable bank does follows from what is stored and from
 * the moment: the runs of a stretch of time follow one another in memory, by the same code as everywhere (`run.ts`), and are
 * written together. A year of one item is some 730 refreshes; each by itself was 19 statements in 11 round trips (record 0034).
 * Whatever is not that simple ends the stretch, and is for the walk to do step by step.
 */
import { randomId } from '../../base/random.ts';
import { nextPhase, type Refresh } from '../../items/refreshes.ts';
import type { Ending } from '../endings.ts';
import { runRefresh } from '../run.ts';
import { decideDue } from '../schedule/due.ts';
import type { RefreshServices } from '../services.ts';
import { type Memory, remember, type WorkedOut } from './memory.ts';
import type { Mover } from './move.ts';
import { Overtaken, writeAhead } from './write-ahead.ts';

/** A stretch is written when it has so many refreshes, or rows, or took so long: others wait for its transaction, and look at its clock. */
const REFRESHES_MAX = 32;
const ROWS_MAX = 1_000;
const STRETCH_MS = 250;

/** `to` is the application's time. */
type Way = Mover & { to: number; signal: AbortSignal };

/** A run that waits at its end to hear whether it was written; null: it was not, and nobody is to hear of it. */
type AheadRun = WorkedOut & { refresh: Refresh; tell: (written: true | null) => void; ended: Promise<void> };

/** `in vain`: something else happened, or the writing failed, which may be done all the same. */
export type Went = 'further' | 'nowhere' | 'in vain';
export type Ahead = {
  /** Goes as far as it can. `offsetMs`: how far the clock is now. */
  walk(offsetMs: number): Promise<Went>;
};

export function createAhead(services: RefreshServices, way: Way): Ahead {
  // Where much happens beside it little is worked out in vain: after each time it begins with one, and doubles.
  let most = REFRESHES_MAX;
  return {
    async walk(offsetMs) {
      const memory = await remember(services, { ...way, offsetMs });
      if (memory === null) return 'nowhere';
      let at = offsetMs;
      let went: Went = 'nowhere';
      for (;;) {
        const { runs, reached, more } = await workOut(services, way, memory, { offsetMs: at, most });
        if (runs.length === 0) return went;
        if (!(await commit(services, way, memory, { runs, offsetMs: at, byMs: reached - at }))) {
          most = 1;
          return 'in vain';
        }
        most = Math.min(2 * most, REFRESHES_MAX);
        at = reached;
        went = 'further';
        if (!more) return went;
      }
    },
  };
}

/** `reached`: how far the clock is at the last of the runs. `more`: the next one may be worked out, too. */
type Stretch = { runs: AheadRun[]; reached: number; more: boolean };

async function workOut(
  services: RefreshServices,
  way: Way,
  memory: Memory,
  { offsetMs, most }: { offsetMs: number; most: number },
): Promise<Stretch> {
  const runs: AheadRun[] = [];
  const startedAt = performance.now();
  let reached = offsetMs;
  let rows = 0;
  try {
    while (runs.length < most && rows < ROWS_MAX && performance.now() - startedAt < STRETCH_MS) {
      way.signal.throwIfAborted();
      const next = memory.next();
      if (next === null || next.dueAt > Math.min(way.to, memory.othersDueAt ?? way.to)) return { runs, reached, more: false };
      const there = Math.max(reached, next.dueAt - services.clock.now());
      const run = await runAhead(services, memory, { itemId: next.itemId, offsetMs: there, signal: way.signal });
      if (run === null) return { runs, reached, more: false };
      runs.push(run);
      rows += run.ending.rows;
      reached = there;
      // These runs wait for nothing, and everything else of this process would wait for them.
      await new Promise(setImmediate);
    }
    return { runs, reached, more: true };
  } catch (error) {
    await tell(runs, null);
    throw error;
  }
}

/** Null where this one is not for here: nothing of it is remembered. */
async function runAhead(
  services: RefreshServices,
  memory: Memory,
  { itemId, offsetMs, signal }: { itemId: number; offsetMs: number; signal: AbortSignal },
): Promise<AheadRun | null> {
  const beginning = { ...memory.items.get(itemId)!.is.beginning, clockOffsetMs: offsetMs };
  const { item, circuit, refreshBands: bands } = beginning;
  const realNow = services.clock.now();
  if (!services.connector(item.bankId)?.predictable) return null;
  if (decideDue(services, { item, bands, circuit, clockOffsetMs: offsetMs }, realNow).kind !== 'refresh') return null;

  const refresh = begunAt(item, realNow + offsetMs);
  const atItsEnd = Promise.withResolvers<Ending | null>();
  const fate = Promise.withResolvers<true | null>();
  const endings = {
    commit(ending: Ending) {
      atItsEnd.resolve(ending);
      return fate.promise;
    },
  };
  const together = { beginning: async () => beginning, rowsToCompare: memory.rows.toCompare, endings, signal };
  // What fails here is no more than not worked out: it is not insisted upon, and whoever runs it again says what is wrong with it.
  const ended = runRefresh({ ...services, outcomes: memory.outcomes, pause: async () => {} }, refresh, together)
    .catch(() => {})
    .finally(() => atItsEnd.resolve(null));
  const ending = await atItsEnd.promise;
  const leave = async () => {
    memory.leave();
    fate.resolve(null);
    await ended;
  };
  if (ending === null || ending.alone.length > 0) {
    await leave();
    return null;
  }
  try {
    return { ...memory.take(ending), refresh, tell: fate.resolve, ended };
  } catch (error) {
    await leave();
    throw error;
  }
}

/** As one that the scheduler has asked for and a worker has claimed. */
function begunAt(item: { id: number; applicationId: string; userUuid: string } & Parameters<typeof nextPhase>[0], now: number): Refresh {
  return {
    id: randomId('rfr'),
    itemId: item.id,
    applicationId: item.applicationId,
    userUuid: item.userUuid,
    cause: 'scheduler',
    state: 'authenticating',
    phase: nextPhase(item),
    challenge: null,
    challengeState: null,
    challengedAt: null,
    challengeExpiresAt: null,
    answer: null,
    refreshedAccountsCount: null,
    totalAccountsCount: null,
    status: null,
    statusCodeInfo: null,
    epoch: 1,
    failedRuns: 0,
    silentRuns: 0,
    heard: null,
    startedAt: now,
    finishedAt: null,
  };
}

/** False where it could not be written: the walk goes on from what the database says, by a step. */
async function commit(
  services: RefreshServices,
  way: Way,
  memory: Memory,
  { runs, offsetMs, byMs }: { runs: AheadRun[]; offsetMs: number; byMs: number },
): Promise<boolean> {
  try {
    await writeAhead(services, way, memory, { offsetMs, byMs, refreshes: runs });
  } catch (error) {
    if (error instanceof Overtaken) services.log.info({ application: way.applicationId, why: error.message }, 'worked out ahead in vain');
    else services.log.warn({ application: way.applicationId, error }, 'what was worked out ahead could not be written');
    await tell(runs, null);
    // It may have been, by a commit that nobody heard of.
    services.onEvents();
    return false;
  }
  memory.written();
  await tell(runs, true);
  return true;
}

async function tell(runs: readonly AheadRun[], written: true | null): Promise<void> {
  for (const run of runs) run.tell(written);
  await Promise.all(runs.map(({ ended }) => ended));
}
