/**
 * What becomes of a run that failed by a fault of ours, in planning or at its commit: what it asked of the bank is counted, and
 * the refresh runs again after a pause. But not for ever: each run is a login, and nobody would hear of what never ends.
 */
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { rememberSchedule } from '../items/items.ts';
import { type Refresh, releaseRefresh } from '../items/refreshes.ts';
import type { Run } from './context.ts';
import type { RefreshServices } from './services.ts';

/** A database that was away for some minutes is back by then; what fails as often as this fails for a reason that stays. */
export const RUNS_MAX = 5;
/** Twice as long each time, so that what ails us has time to pass. */
const RUN_AGAIN_MS = 30 * SECOND_MS;
/** Where not even the failure can be committed. */
const RUN_AGAIN_MAX_MS = HOUR_MS;

/** The next run ends the refresh as a failure, without a word to the bank. */
export function isGivenUp({ failedRuns }: Pick<Refresh, 'failedRuns'>): boolean {
  return failedRuns >= RUNS_MAX;
}

/** `run` is null where it had not begun; `abandoned` where it is the server that stops, which is nobody's fault. */
export async function runAgain(
  { storage, clock }: RefreshServices,
  refresh: Refresh,
  { run, abandoned }: { run: Run | null; abandoned: boolean },
): Promise<void> {
  const failedRuns = refresh.failedRuns + (abandoned ? 0 : 1);
  const realNow = clock.now();
  const runAt = realNow + (abandoned ? 0 : pauseMs(failedRuns));
  const schedule = run?.pacing.spentBy(realNow + run.clockOffsetMs) ?? null;
  await storage.transaction(async (tx) => {
    const released = await releaseRefresh(tx, refresh, { runAt, failedRuns });
    if (released && schedule !== null) await rememberSchedule(tx, refresh.itemId, schedule);
  });
}

function pauseMs(failedRuns: number): number {
  if (failedRuns === RUNS_MAX) return 0;
  return Math.min(RUN_AGAIN_MAX_MS, RUN_AGAIN_MS * 2 ** (Math.min(failedRuns, RUNS_MAX * 2) - 1));
}
