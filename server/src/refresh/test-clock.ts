/**
 * The test clock of a sandbox: it goes from one due moment to the next, and what falls due there runs before it goes on.
 *
 * What is scheduled stands in the database in real time, already moved by how far the clock is ahead, so that one index
 * serves all applications; going forward brings it nearer by as much, in the same transaction.
 */
import { DAY_MS, MINUTE_MS } from '../base/clock.ts';
import { randomId } from '../base/random.ts';
import { bringDueNearer } from '../items/items.ts';
import { bringRefreshesNearer, type Refresh } from '../items/refreshes.ts';
import { sql } from '../storage/sql.ts';
import type { Writer } from '../storage/storage.ts';
import type { RefreshServices } from './services.ts';
import { runPass, runTaken, takeDue } from './worker.ts';

/** Five years at once: more is a mistake in a unit. */
export const ADVANCE_MAX_MS = 5 * 366 * DAY_MS;
/** A mover that died leaves the clock to others after this. */
const MOVER_LEASE_MS = MINUTE_MS;
/** How soon the end of another's advance, or of another worker's run, is seen. */
const LOOK_AGAIN_MS = 20;

export type ClockTarget = { byMs: number } | { to: number };
export type ClockRefusal = 'unknown application' | 'not a sandbox' | 'backward' | 'too far' | 'already moving';
/** Times are the application's. `refreshes` ended, and `events` were made, on the way. */
export type AdvanceOutcome =
  | { ok: true; from: number; now: number; refreshes: number; events: number }
  | { ok: false; refusal: ClockRefusal };

/** What else goes by the test clock, beside refreshes; what it is, is for those to know who hand it in. */
export type Companion = {
  /** Ends when nothing of it can happen at this moment; answers when something next can (real time), or null. */
  rest(signal: AbortSignal): Promise<number | null>;
  /** Among the statements of the transaction that moves the clock. `from` is the application's time. */
  bringNearer(tx: Writer, span: { from: number; byMs: number }): Promise<void>;
};

/** `waitMs`: how long (real time) to wait for an advance by another, or for a run of another worker's. */
export type AdvanceOptions = { signal: AbortSignal; waitMs?: number; companion?: Companion };
const WAIT_MS = 30_000;

/** The steps of one advance are durable together, at its end: each waiting for the disk would be most of a year's walk. */
function withLazyCommits(services: RefreshServices): RefreshServices {
  const { storage } = services;
  return { ...services, storage: { ...storage, transaction: (work) => storage.transaction(work, { durable: false }) } };
}

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
  while (!(await becomeMover(services, applicationId, mover))) {
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
    await walk(withLazyCommits(services), { applicationId, mover, to, waitMs, signal, companion });
    const after = (await readClock(services, applicationId))!;
    return {
      ok: true,
      from,
      now: after.now,
      refreshes: (await countRefreshes(services, applicationId)) - refreshes,
      events: (await countEvents(services, applicationId)) - events,
    };
  } finally {
    await releaseMover(services, applicationId, mover);
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

/** Real times. `nextAt`: when something next falls due or can be taken; null where nothing is scheduled. */
type Standing = { offsetMs: number; nextAt: number | null; running: number };

/** One statement for each step: all that a walk asks. */
async function readStanding({ storage }: RefreshServices, applicationId: string): Promise<Standing> {
  const row = await storage.first<{ clock_offset_ms: number; due_at: number | null; run_at: number | null; running: number | null }>(sql`
    select clock_offset_ms, (select min(due_at) from items where application_id = ${applicationId}) as due_at,
      open.run_at, open.running
    from applications, (
      select min(case when running = 0 then run_at end) as run_at, sum(running) as running from refreshes
      where application_id = ${applicationId} and finished_at is null
    ) as open
    where id = ${applicationId}`);
  if (!row) throw new Error('the application was deleted while its test clock went forward');
  return { offsetMs: row.clock_offset_ms, nextAt: earlier(row.due_at, row.run_at), running: Number(row.running ?? 0) };
}

function earlier(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}

type Walk = {
  applicationId: string;
  mover: string;
  to: number;
  waitMs: number;
  signal: AbortSignal;
  companion: Companion | undefined;
};

/** From due moment to due moment. A run of another worker that does not end within `waitMs` in all is left behind: its claim ends by itself. */
async function walk(services: RefreshServices, way: Walk): Promise<void> {
  const { applicationId, to, waitMs, signal, companion } = way;
  const patience = performance.now() + waitMs;
  for (;;) {
    signal.throwIfAborted();
    const { offsetMs, nextAt, running } = await readStanding(services, applicationId);
    const due = nextAt !== null && nextAt <= services.clock.now();
    if (due && (await runPass(services, applicationId, signal)) > 0) continue;
    // What is due and cannot be taken is being taken by another worker.
    if ((due || running > 0) && performance.now() < patience) {
      await pause();
      continue;
    }
    const beside = companion ? await companion.rest(signal) : null;
    const realNow = services.clock.now();
    const leftMs = to - offsetMs - realNow;
    if (leftMs <= 0) return;
    const next = earlier(nextAt, beside);
    const byMs = next === null ? leftMs : Math.min(leftMs, Math.max(next - realNow, 1));
    const fallsDue = nextAt !== null && nextAt - realNow <= byMs;
    await runTaken(services, await moveBy(services, way, { from: realNow + offsetMs, byMs, fallsDue }), signal);
  }
}

/**
 * What falls due at the moment to which it moves is claimed in the same transaction: looking for it, asking for it and
 * claiming it in their own were a fifth of a year on PostgreSQL.
 */
async function moveBy(
  services: RefreshServices,
  { applicationId, mover, companion }: Walk,
  { fallsDue, ...span }: { from: number; byMs: number; fallsDue: boolean },
): Promise<Refresh[]> {
  const { byMs } = span;
  return services.storage.transaction(async (tx) => {
    // Given at once, they travel at once.
    const [moved, , , , taken] = await Promise.all([
      tx.run(sql`
        update applications set clock_offset_ms = clock_offset_ms + ${byMs}, clock_mover_until = ${services.clock.now() + MOVER_LEASE_MS}
        where id = ${applicationId} and clock_mover = ${mover}`),
      bringDueNearer(tx, applicationId, byMs),
      bringRefreshesNearer(tx, applicationId, byMs),
      companion?.bringNearer(tx, span),
      fallsDue ? takeDue(tx, services, applicationId) : [],
    ]);
    if (moved !== 1) throw new Error('the test clock was taken over by another advance');
    return taken;
  });
}

async function becomeMover({ storage, clock }: RefreshServices, applicationId: string, mover: string): Promise<boolean> {
  const now = clock.now();
  const changed = await storage.transaction((tx) =>
    tx.run(sql`
      update applications set clock_mover = ${mover}, clock_mover_until = ${now + MOVER_LEASE_MS}
      where id = ${applicationId} and (clock_mover is null or clock_mover_until <= ${now})`),
  );
  return changed === 1;
}

/** Pages and answers that keep an application in memory read it again. */
async function releaseMover({ storage }: RefreshServices, applicationId: string, mover: string): Promise<void> {
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`update applications set clock_mover = null, clock_mover_until = 0 where id = ${applicationId} and clock_mover = ${mover}`,
    );
    await tx.run(sql`update configuration set version = version + 1`);
  });
}

const pause = () => new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));

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
