/**
 * The test clock of a sandbox: it goes from one due moment to the next, and what falls due there runs before it goes on.
 *
 * What is scheduled stands in the database in real time, already moved by how far the clock is ahead, so that one index
 * serves all applications; going forward brings it nearer by as much, in the same transaction.
 */
import { DAY_MS } from '../../base/clock.ts';
import { randomId } from '../../base/random.ts';
import { sql } from '../../storage/sql.ts';
import type { RefreshServices } from '../services.ts';
import { becomeMover, releaseMover } from './move.ts';
import { type Companion, pause, walk } from './walk.ts';

/** Five years at once: more is a mistake in a unit. */
export const ADVANCE_MAX_MS = 5 * 366 * DAY_MS;

export type ClockTarget = { byMs: number } | { to: number };
export type ClockRefusal = 'unknown application' | 'not a sandbox' | 'backward' | 'too far' | 'already moving';
/** Times are the application's. `refreshes` ended, and `events` were made, on the way. */
export type AdvanceOutcome =
  | { ok: true; from: number; now: number; refreshes: number; events: number }
  | { ok: false; refusal: ClockRefusal };

/** `waitMs`: how long (real time) to wait for an advance by another, or for a run of another worker's. */
export type AdvanceOptions = { signal: AbortSignal; waitMs?: number; companion?: Companion };
const WAIT_MS = 30_000;

export async function advanceClock(
  services: RefreshServices,
  applicationId: string,
  target: ClockTarget,
  { signal, waitMs = WAIT_MS, companion }: AdvanceOptions,
): Promise<AdvanceOutcome> {
  const before = await readClock(services, applicationId);
  if (before === null) return { ok: false, refusal: 'unknown application' };
  if (before.environment !== 'sandbox') return { ok: false, refusal: 'not a sandbox' };
  const mover = randomId('mov');
  const patience = performance.now() + waitMs;
  while (!(await becomeMover(services, { applicationId, mover }))) {
    signal.throwIfAborted();
    if (performance.now() > patience) return { ok: false, refusal: 'already moving' };
    await pause();
  }
  try {
    // Read again: whoever moved the clock meanwhile has moved it for us too.
    const from = (await readClock(services, applicationId))?.now ?? before.now;
    const to = 'to' in target ? target.to : from + target.byMs;
    if (!(to > from)) return { ok: false, refusal: 'backward' };
    if (to - from > ADVANCE_MAX_MS) return { ok: false, refusal: 'too far' };
    const refreshes = await countRefreshes(services, applicationId);
    const events = await countEvents(services, applicationId);
    await walk(services, { applicationId, mover, to, waitMs, signal, companion });
    const after = (await readClock(services, applicationId))!;
    return {
      ok: true,
      from,
      now: after.now,
      refreshes: (await countRefreshes(services, applicationId)) - refreshes,
      events: (await countEvents(services, applicationId)) - events,
    };
  } finally {
    await releaseMover(services, { applicationId, mover });
  }
}

/** For people and for the API, in one voice. */
export function refusalSentence(refusal: ClockRefusal): string {
  switch (refusal) {
    case 'unknown application':
      return 'There is no such application';
    case 'not a sandbox':
      return 'Only a sandbox application has a test clock';
    case 'backward':
      return 'The test clock goes forward only: what has happened cannot be taken back';
    case 'too far':
      return `The clock advances by at most ${ADVANCE_MAX_MS / DAY_MS} days at once`;
    case 'already moving':
      return 'The clock is being moved by another request: try again when that has ended';
    default:
      return refusal satisfies never;
  }
}

export type ClockReading = { environment: string; now: number; offsetMs: number };

export async function readClock(
  { storage, clock }: Pick<RefreshServices, 'storage' | 'clock'>,
  applicationId: string,
): Promise<ClockReading | null> {
  const row = await storage.first<{ environment: string; clock_offset_ms: number }>(
    sql`select environment, clock_offset_ms from applications where id = ${applicationId}`,
  );
  return row ? { environment: row.environment, offsetMs: row.clock_offset_ms, now: clock.now() + row.clock_offset_ms } : null;
}

async function countEvents({ storage }: RefreshServices, applicationId: string): Promise<number> {
  const row = await storage.first<{ count: number }>(sql`select count(*) as count from events where application_id = ${applicationId}`);
  return row?.count ?? 0;
}

/** Through the items, because refreshes have no index by application, and sandboxes have few items. */
async function countRefreshes({ storage }: RefreshServices, applicationId: string): Promise<number> {
  const row = await storage.first<{ count: number }>(sql`
    select count(*) as count from items join refreshes on refreshes.item_id = items.id
    where items.application_id = ${applicationId} and refreshes.finished_at is not null`);
  return row?.count ?? 0;
}

/** `2026-12-24T08:00:00Z` as epoch milliseconds; null for anything without a time zone. */
export function readMoment(text: string): number | null {
  const at = Date.parse(text);
  return Number.isFinite(at) && MOMENT.test(text) ? at : null;
}
const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2})$/;
