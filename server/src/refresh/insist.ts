/**
 * What has to be written after a bank has been asked is given to the database again where that fails: to begin anew would be
 * another login, tell a refused password or a used code once more, and lose what the login has renewed.
 */
import { SECOND_MS } from '../base/clock.ts';
import { isClaimed, type Refresh } from '../items/refreshes.ts';
import type { RefreshServices } from './services.ts';

/** A database that starts again, or whose writer is another one now, is back within these; together much less than a claim is left after its conversation. */
const PAUSES_MS = [0.2 * SECOND_MS, SECOND_MS, 4 * SECOND_MS, 15 * SECOND_MS];
export const TRIES_MAX = PAUSES_MS.length + 1;

/**
 * Null where the claim no longer stands when it is tried again: another worker has the refresh, it was erased, or it was written
 * and only not heard of. Once `signal` is aborted there are no pauses any more, and one last try.
 */
export async function insist<T>(
  { storage, log, pause }: Pick<RefreshServices, 'storage' | 'log' | 'pause'>,
  refresh: Pick<Refresh, 'id' | 'itemId' | 'epoch'>,
  signal: AbortSignal,
  write: () => Promise<T>,
): Promise<T | null> {
  let failure: unknown = null;
  for (let tries = 0; ; tries += 1) {
    const last = tries === PAUSES_MS.length || (tries > 0 && signal.aborted);
    try {
      if (tries > 0) {
        if (!(await isClaimed(storage, refresh))) return null;
        log.warn({ refresh: refresh.id, item: refresh.itemId, tries, error: failure }, 'a refresh could not be written; it is tried again');
      }
      return await write();
    } catch (error) {
      if (last) throw error;
      failure = error;
      await pause(PAUSES_MS[tries]!, signal);
    }
  }
}
