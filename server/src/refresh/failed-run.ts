/**
 * What becomes of a run that failed by a fault of ours, in planning or at its commit: what it asked of the bank is counted, what
 * its login brought and what the bank has refused are kept, and the refresh runs again after a pause. But not for ever: each run
 * is a login, and nobody would hear of what never ends.
 */
import { HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { rememberLogin, rememberSchedule } from '../items/items.ts';
import { type Refresh, releaseRefresh } from '../items/refreshes.ts';
import type { Run } from './context.ts';
import { statePlace } from './sealed.ts';
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

/**
 * `run` is null where it had not begun; `abandoned` where it is the server that stops, which is nobody's fault. False where
 * another worker has the refresh, or where it was erased with its item.
 */
export async function runAgain(
  { storage, clock, vault }: RefreshServices,
  refresh: Refresh,
  { run, abandoned }: { run: Run | null; abandoned: boolean },
): Promise<boolean> {
  const failedRuns = refresh.failedRuns + (abandoned ? 0 : 1);
  const realNow = clock.now();
  const runAt = realNow + (abandoned ? 0 : pauseMs(failedRuns));
  const heard = run?.heard ? JSON.stringify(run.heard) : refresh.heard;
  return storage.transaction(async (tx) => {
    const released = await releaseRefresh(tx, refresh, { runAt, failedRuns, begun: run !== null, served: hasServed(run), heard });
    if (!released || run === null) return released;
    const { item, login, pacing } = run;
    const schedule = pacing.spentBy(realNow + run.clockOffsetMs);
    if (schedule !== null) await rememberSchedule(tx, item.id, schedule);
    // Of uploaded files it is what was imported, and nothing was.
    if (login === null || run.connector?.bank.input === 'files') return released;
    const { keep, consentExpiresAt = item.consentExpiresAt } = login;
    const connectorState =
      keep === undefined ? item.connectorState : await vault.seal(tx, item.dataKeyId, statePlace(item), JSON.stringify(keep));
    await rememberLogin(tx, item.id, { connectorState, consentExpiresAt });
    return released;
  });
}

/** The bank has let somebody in or refused to, or was told the user's code: neither the challenge nor its answer is good for another run. */
function hasServed(run: Run | null): boolean {
  if (run === null) return false;
  return run.login !== null || run.heard !== null || (run.refresh.answer !== null && run.calls > 0);
}

function pauseMs(failedRuns: number): number {
  if (failedRuns === RUNS_MAX) return 0;
  return Math.min(RUN_AGAIN_MAX_MS, RUN_AGAIN_MS * 2 ** (Math.min(failedRuns, RUNS_MAX * 2) - 1));
}
