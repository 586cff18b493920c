/**
 * From due moment to due moment. Refreshes of banks that can be asked ahead are worked out in memory and written many at a time
 * (`ahead.ts`); everything else is a step by itself: the clock moves, and what falls due there runs to its end.
 */
import type { Refresh } from '../../items/refreshes.ts';
import { sql } from '../../storage/sql.ts';
import type { Writer } from '../../storage/storage.ts';
import type { RefreshServices } from '../services.ts';
import { runPass, runTaken, takeDue } from '../worker.ts';
import { createAhead } from './ahead.ts';
import { type Mover, moveWithin } from './move.ts';

/** How soon the end of another's advance, or of another worker's run, is seen. */
const LOOK_AGAIN_MS = 20;

/** What else goes by the test clock, beside refreshes; what it is, is for those to know who hand it in. */
export type Companion = {
  /** Ends when nothing of it can happen at this moment; answers when something next can (real time), or null. */
  rest(signal: AbortSignal): Promise<number | null>;
  /** Among the statements of the transaction that moves the clock. `from` is the application's time. */
  bringNearer(tx: Writer, span: { from: number; byMs: number }): Promise<void>;
};

/** `to` is the application's time. With a companion each moment has its rest before the next, so nothing is worked out ahead. */
export type Walk = Mover & {
  to: number;
  waitMs: number;
  signal: AbortSignal;
  companion: Companion | undefined;
};

/** The steps of one advance are durable together, at its end: each waiting for the disk would be most of a year's walk. */
function withLazyCommits(services: RefreshServices): RefreshServices {
  const { storage } = services;
  return { ...services, storage: { ...storage, transaction: (work) => storage.transaction(work, { durable: false }) } };
}

/** A run of another worker that does not end within `waitMs` in all is left behind: its claim ends by itself. */
export async function walk(waiting: RefreshServices, way: Walk): Promise<void> {
  const services = withLazyCommits(waiting);
  const { applicationId, to, waitMs, signal, companion } = way;
  const patience = performance.now() + waitMs;
  const ahead = companion === undefined ? createAhead(services, way) : null;
  let byStep = false;
  for (;;) {
    signal.throwIfAborted();
    const { offsetMs, nextAt, open, running } = await readStanding(services, applicationId);
    const due = nextAt !== null && nextAt <= services.clock.now();
    if (due && (await runPass(services, applicationId, signal)) > 0) continue;
    // What is due and cannot be taken is being taken by another worker.
    if ((due || running > 0) && performance.now() < patience) {
      await pause();
      continue;
    }
    if (ahead && !byStep && open === 0) {
      const went = await ahead.walk(offsetMs);
      // What has come between is passed by a step, from where the clock is by then.
      byStep = went === 'in vain';
      if (went !== 'nowhere') continue;
    }
    const beside = companion ? await companion.rest(signal) : null;
    const realNow = services.clock.now();
    const leftMs = to - offsetMs - realNow;
    if (leftMs <= 0) return;
    const next = earlier(nextAt, beside);
    const byMs = next === null ? leftMs : Math.min(leftMs, Math.max(next - realNow, 1));
    const fallsDue = nextAt !== null && nextAt - realNow <= byMs;
    await runTaken(services, await moveBy(services, way, { from: realNow + offsetMs, byMs, fallsDue }), signal);
    byStep = false;
  }
}

export const pause = () => new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));

/** Real times. `nextAt`: when something next falls due or can be taken; null where nothing is scheduled. `running` of the `open` refreshes are claimed. */
type Standing = { offsetMs: number; nextAt: number | null; open: number; running: number };

/** One statement for each step: all that a walk asks. */
async function readStanding({ storage }: RefreshServices, applicationId: string): Promise<Standing> {
  type Row = { clock_offset_ms: number; due_at: number | null; run_at: number | null; refreshes: number; running: number | null };
  const row = await storage.first<Row>(sql`
    select clock_offset_ms, (select min(due_at) from items where application_id = ${applicationId}) as due_at,
      open.run_at, open.refreshes, open.running
    from applications, (
      select min(case when running = 0 then run_at end) as run_at, count(*) as refreshes, sum(running) as running from refreshes
      where application_id = ${applicationId} and finished_at is null
    ) as open
    where id = ${applicationId}`);
  if (!row) throw new Error('the application was deleted while its test clock went forward');
  const { clock_offset_ms: offsetMs, due_at, run_at, refreshes: open, running } = row;
  return { offsetMs, nextAt: earlier(due_at, run_at), open, running: Number(running ?? 0) };
}

function earlier(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}

/**
 * What falls due at the moment to which it moves is claimed in the same transaction: looking for it, asking for it and
 * claiming it in their own were a fifth of a year on PostgreSQL.
 */
async function moveBy(
  services: RefreshServices,
  way: Walk,
  { fallsDue, ...span }: { from: number; byMs: number; fallsDue: boolean },
): Promise<Refresh[]> {
  return services.storage.transaction(async (tx) => {
    // Given at once, they travel at once.
    const [, , taken] = await Promise.all([
      moveWithin(tx, services, way, span.byMs),
      way.companion?.bringNearer(tx, span),
      fallsDue ? takeDue(tx, services, way.applicationId) : [],
    ]);
    return taken;
  });
}
