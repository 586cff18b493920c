/** The worker: what is due becomes a refresh, what is runnable is claimed and run. Claims end by time, so a dead worker frees its own. */
import { MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { startLoop } from '../base/loop.ts';
import { dueItems } from '../items/items.ts';
import { claimRefreshes, nextRunAt, type Refresh, requestRefresh } from '../items/refreshes.ts';
import { sql } from '../storage/sql.ts';
import { nextDueInMs } from './plan.ts';
import { type RefreshServices, runRefresh } from './run.ts';

/** Longer than a refresh may take in all; a claim whose worker died runs again after this. */
const LEASE_MS = 10 * MINUTE_MS;
/** Refreshes at once on one node: they wait for banks nearly all of the time. */
export const CONCURRENT_MAX = 32;
/** Runs that end within this time are followed by one claim for all of them, so that a claim costs a busy node little. */
const GATHER_MS = 5;
const DUE_BATCH = 100;
/** How late a request of another process (the command line) is seen. */
const POLL_MS = 500;

export type RefreshWorker = {
  /** Something may be runnable now. */
  wake(): void;
  /** No new runs; those under way have `graceMs` to end, then they are abandoned and run again after a restart. */
  stop(graceMs: number): Promise<void>;
};

export function startRefreshWorker(services: RefreshServices): RefreshWorker {
  const { storage, clock, log } = services;
  const running = new Set<Promise<void>>();
  const ending = new AbortController();
  let gathering = false;
  const wakeSoon = () => {
    if (gathering) return;
    gathering = true;
    setTimeout(() => {
      gathering = false;
      loop.wake();
    }, GATHER_MS);
  };

  const loop = startLoop({
    onError: (error) => log.error({ error }, 'refresh worker'),
    step: async () => {
      await requestDue(services);
      const free = CONCURRENT_MAX - running.size;
      const claimed = free > 0 ? await claim(services, free) : [];
      for (const refresh of claimed) {
        const run = runClaimed(services, refresh, ending.signal).finally(() => {
          running.delete(run);
          wakeSoon();
        });
        running.add(run);
      }
      const next = await nextRunAt(storage);
      // Without a free place nothing can be claimed, and a run that ends wakes us.
      const untilNext = next === null || running.size >= CONCURRENT_MAX ? POLL_MS : Math.max(10, next - clock.now());
      return { pauseMs: claimed.length > 0 && running.size < CONCURRENT_MAX ? 0 : Math.min(POLL_MS, untilNext) };
    },
  });

  return {
    wake: () => loop.wake(),
    async stop(graceMs) {
      await loop.stop();
      const grace = setTimeout(() => ending.abort(new Error('the server stops')), graceMs);
      await Promise.allSettled(running);
      clearTimeout(grace);
    },
  };
}

async function runClaimed(services: RefreshServices, refresh: Refresh, signal: AbortSignal): Promise<void> {
  try {
    await runRefresh(services, refresh, signal);
  } catch (error) {
    services.log.error({ refresh: refresh.id, item: refresh.itemId, error }, 'refresh run failed; it runs again');
    await release(services, refresh, signal.aborted ? 0 : SECOND_MS * 30).catch(() => {});
  }
}

/** Gives a claim back: at once when we stop, after a pause when the run failed by a fault of ours. */
async function release(services: RefreshServices, refresh: Refresh, pauseMs: number): Promise<void> {
  const runAt = services.clock.now() + pauseMs;
  await services.storage.transaction((tx) =>
    tx.run(sql`update refreshes set run_at = ${runAt} where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`),
  );
}

function claim(services: RefreshServices, limit: number, applicationId?: string): Promise<Refresh[]> {
  const { storage, clock } = services;
  return storage.transaction((tx) =>
    claimRefreshes(tx, storage, { now: clock.now(), leaseMs: LEASE_MS, limit, ...(applicationId ? { applicationId } : {}) }),
  );
}

/** Opens refreshes for items that are due; the next is due half a day later, whatever becomes of this one. */
async function requestDue(services: RefreshServices): Promise<void> {
  const { storage, clock } = services;
  const now = clock.now();
  const due = await dueItems(storage, now, DUE_BATCH);
  if (due.length === 0) return;
  await storage.transaction(async (tx) => {
    for (const item of due) {
      const moved = await tx.run(
        sql`update items set due_at = ${now + nextDueInMs(item.id)} where id = ${item.id} and due_at = ${item.due_at}`,
      );
      if (moved === 0) continue;
      const detail = await tx.first<{ clock_offset_ms: number; full_refresh_wanted: number; connected_once: number }>(sql`
        select a.clock_offset_ms, i.full_refresh_wanted, i.connected_once from items i join applications a on a.id = i.application_id where i.id = ${item.id}`);
      if (!detail) continue;
      const phase = detail.connected_once === 0 ? 'recent' : detail.full_refresh_wanted === 1 ? 'full' : 'incremental';
      await requestRefresh(tx, {
        item: { id: item.id, applicationId: item.application_id, userUuid: item.user_uuid },
        cause: 'scheduler',
        phase,
        startedAt: now + detail.clock_offset_ms,
        runAt: now,
      });
    }
  });
}

/** Runs everything of an application that can run now, to its end; for the test clock, beside or without a server's worker. */
export async function runApplication(services: RefreshServices, applicationId: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    await requestDue(services);
    const claimed = await claim(services, CONCURRENT_MAX, applicationId);
    if (claimed.length === 0) return;
    await Promise.all(claimed.map((refresh) => runClaimed(services, refresh, signal)));
  }
}
