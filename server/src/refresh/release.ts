/**
 * The operator's word on a mass deletion: he has looked, and the bank is right. It stands beside what refreshes write of the
 * account, so one that runs meanwhile neither loses it nor is stopped by it; the first that begins after it takes it.
 */
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import type { Breaker } from './detection/types.ts';

/** `held`: rows that may go. Given again before a refresh has taken it, it is the same release. */
export type Release = { held: number; releasedAt: number };
export type ReleaseOutcome = ({ ok: true } & Release) | { ok: false; refusal: 'not_found' | 'nothing_held' };

type HeldRow = { breaker: string | null; breaker_released_at: number | null; breaker_release_taken: number | null };

/** `now` is real time. */
export async function releaseBreaker(storage: Storage, accountId: number, now: number): Promise<ReleaseOutcome> {
  return storage.transaction(async (tx) => {
    const row = await tx.first<HeldRow>(
      sql`select breaker, breaker_released_at, breaker_release_taken from accounts where id = ${accountId}${storage.forUpdate}`,
    );
    if (!row) return { ok: false, refusal: 'not_found' };
    const held = row.breaker === null ? 0 : (JSON.parse(row.breaker) as Breaker).rows.length;
    if (held === 0) return { ok: false, refusal: 'nothing_held' };
    const { breaker_released_at: released, breaker_release_taken: taken } = row;
    if (released !== null && released !== taken) return { ok: true, held, releasedAt: released };
    // Never the one that was taken, also where the clock went back.
    const releasedAt = taken === null ? now : Math.max(now, taken + 1);
    await tx.run(sql`update accounts set breaker_released_at = ${releasedAt} where id = ${accountId}`);
    return { ok: true, held, releasedAt };
  });
}
