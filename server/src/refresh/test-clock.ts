/** The test clock of a sandbox: time goes forward, and what falls due on the way runs, in order, before the answer. */
import { HOUR_MS } from '../base/clock.ts';
import { bringDueNearer } from '../items/items.ts';
import { sql } from '../storage/sql.ts';
import type { RefreshServices } from './run.ts';
import { runApplication } from './worker.ts';

/** A leap is walked in steps no longer than half a day, so that both daily refreshes of an item have their moment. */
const STEP_MAX_MS = 12 * HOUR_MS;
/** Two years at once are a mistake in a unit. */
export const ADVANCE_MAX_MS = 366 * 24 * HOUR_MS;
/** How long another worker's run of ours may take before the clock goes on without it. */
const SETTLE_TRIES = 600;
const SETTLE_PAUSE_MS = 50;

export type AdvanceOutcome = { ok: true; now: number } | { ok: false; sentence: string };

export async function advanceClock(
  services: RefreshServices,
  applicationId: string,
  byMs: number,
  signal: AbortSignal,
): Promise<AdvanceOutcome> {
  if (!Number.isSafeInteger(byMs) || byMs <= 0 || byMs > ADVANCE_MAX_MS)
    return { ok: false, sentence: 'The clock advances by more than nothing and by at most 366 days at once' };
  const application = await services.storage.first<{ environment: string }>(
    sql`select environment from applications where id = ${applicationId}`,
  );
  if (application?.environment !== 'sandbox') return { ok: false, sentence: 'Only a sandbox application has a test clock' };

  await settle(services, applicationId, signal);
  for (let left = byMs; left > 0; ) {
    const due = await services.storage.first<{ due_at: number | null }>(
      sql`select min(due_at) as due_at from items where application_id = ${applicationId}`,
    );
    const untilDue = due?.due_at == null ? left : Math.max(1, due.due_at - services.clock.now());
    const step = Math.min(left, untilDue, STEP_MAX_MS);
    await services.storage.transaction(async (tx) => {
      await tx.run(sql`update applications set clock_offset_ms = clock_offset_ms + ${step} where id = ${applicationId}`);
      await tx.run(sql`update configuration set version = version + 1`);
      await bringDueNearer(tx, applicationId, step);
    });
    left -= step;
    await settle(services, applicationId, signal);
  }
  const after = await services.storage.first<{ clock_offset_ms: number }>(
    sql`select clock_offset_ms from applications where id = ${applicationId}`,
  );
  return { ok: true, now: services.clock.now() + (after?.clock_offset_ms ?? 0) };
}

/** Runs what can run, the full histories that wait their pause included, until nothing of the application is open but challenges. */
async function settle(services: RefreshServices, applicationId: string, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < SETTLE_TRIES; tries += 1) {
    const now = services.clock.now();
    await services.storage.transaction((tx) =>
      tx.run(sql`
        update refreshes set run_at = ${now} where application_id = ${applicationId} and finished_at is null
          and state = 'authenticating' and phase = 'full' and epoch = 0 and run_at > ${now}`),
    );
    await runApplication(services, applicationId, signal);
    const open = await services.storage.first<{ open: number }>(sql`
      select count(*) as open from refreshes where application_id = ${applicationId} and finished_at is null and state <> 'info_required'`);
    if (!open || open.open === 0) return;
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, SETTLE_PAUSE_MS));
  }
}
