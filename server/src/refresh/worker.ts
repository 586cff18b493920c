/**
 * The worker: what is due becomes a refresh, what is runnable is claimed and run. What a node that has died had claimed is freed
 * by whoever is told of it first; claims that are no node's end by time, on an embedded database by the next start.
 */
import { MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import { startLoop } from '../base/loop.ts';
import { claimRefreshes, freeClaims, freeOrphans, nextWorkAt, ORPHANED_AT, type Refresh } from '../items/refreshes.ts';
import type { Writer } from '../storage/storage.ts';
import { rowsToCompare } from '../transactions/transactions.ts';
import { type Beginning, readBeginnings } from './beginning.ts';
import type { RowsToCompare, RunTogether } from './context.ts';
import { createEndings, type Endings } from './endings.ts';
import { runRefresh } from './run.ts';
import { requestDue, requestDueWithin } from './schedule/due.ts';
import type { RefreshServices } from './services.ts';

/** Longer than a refresh may take in all; a claim that is no node's runs again after this, if its worker has died. */
const LEASE_MS = 10 * MINUTE_MS;
/** Refreshes at once on one node: they wait for banks nearly all of the time. */
export const CONCURRENT_MAX = 32;
/** Beside them, for people who wait: a backlog, or a bank that hangs, may have taken all the others. */
export const WATCHED_MAX = 16;
/** How often these are looked for behind a backlog where nobody has woken us for one: each look is a claim of its own. */
const LOOK_MS = 200;
/** Runs that end within this time are followed by one claim for all of them, so that a claim costs a busy node little. */
const GATHER_MS = 5;
/** How late a request of another process (the command line) is seen by a worker that nobody tells. */
const POLL_MS = 1_000;
/** One that is told asks for itself when it has heard nothing for so long: the heartbeat that tells it has stopped. */
const SILENCE_MS = 5_000;
/** Before its node takes part, a claim would be nobody's. Longer than a node waits for another process that has its id. */
const JOIN_MAX_MS = 10 * SECOND_MS;
/** A moment that is nearly there is waited for in one piece. */
const SOONEST_MS = 10;

export type RefreshWorker = {
  /** Something may be runnable now. */
  wake(): void;
  /** Somebody has asked for {@link nextWork}: until the next time the worker need not. */
  tell(nextWorkAt: number | null): void;
  /** No new runs; those under way have `graceMs` to end, then they are abandoned and run again after a restart. */
  stop(graceMs: number): Promise<void>;
};

export function startRefreshWorker(services: RefreshServices): RefreshWorker {
  const { storage, clock, log } = services;
  const running = new Set<Promise<void>>();
  const beside = new Set<Promise<void>>();
  const endings = createEndings(storage);
  const ending = new AbortController();
  let gathering = false;
  let lookedAt = Number.NEGATIVE_INFINITY;
  /** What was heard serves one step; what happens here is newer than it. */
  let heard: { nextWorkAt: number | null } | null = null;
  let mustAsk = true;
  const goOn = () => {
    mustAsk = true;
    loop.wake();
  };
  const wakeSoon = () => {
    if (gathering) return;
    gathering = true;
    setTimeout(() => {
      gathering = false;
      goOn();
    }, GATHER_MS);
  };

  /** The first heartbeat that tells is the one with which the node takes part. */
  let takesPart = services.claimant === undefined;
  const startedAt = performance.now();

  const run = (claimed: readonly Refresh[], places: Set<Promise<void>>) => {
    for (const one of runTogether(services, claimed, endings, ending.signal)) {
      const running = one.finally(() => {
        places.delete(running);
        if (places.size === 0) goOn();
        else wakeSoon();
      });
      places.add(running);
    }
  };

  // An embedded database has one server: whatever is claimed when it starts, another one has died over.
  let orphaned = storage.shared === undefined;

  const loop = startLoop({
    onError: (error) => log.error({ error }, 'refresh worker'),
    step: async () => {
      const joinsWithinMs = startedAt + JOIN_MAX_MS - performance.now();
      if (!takesPart && joinsWithinMs > 0) return { pauseMs: joinsWithinMs };
      if (orphaned) await storage.transaction((tx) => freeClaims(tx, clock.now()));
      orphaned = false;
      const told = mustAsk ? null : heard;
      heard = null;
      mustAsk = false;
      const next = told ? told.nextWorkAt : await nextWorkAt(storage);
      const pauseMaxMs = told ? SILENCE_MS : POLL_MS;
      const untilNext = next === null ? pauseMaxMs : next - clock.now();
      if (untilNext > 0) return { pauseMs: Math.min(pauseMaxMs, Math.max(SOONEST_MS, untilNext)) };
      if (next === ORPHANED_AT) await storage.transaction((tx) => freeOrphans(tx, storage, clock.now()));
      const due = await requestDue(services);
      const free = CONCURRENT_MAX - running.size;
      const claimed = free > 0 ? await claim(services, { limit: free }) : [];
      run(claimed, running);
      // Where there may be more than there are places.
      const reserved = claimed.length === free ? WATCHED_MAX - beside.size : 0;
      if (reserved > 0 && performance.now() > lookedAt + LOOK_MS) {
        lookedAt = performance.now();
        run(await claim(services, { limit: reserved, watched: true }), beside);
      }
      // Without a free place nothing can be claimed, and a run that ends wakes us.
      const more = due > 0 || (claimed.length > 0 && running.size < CONCURRENT_MAX);
      return { pauseMs: more ? 0 : POLL_MS };
    },
  });

  return {
    wake() {
      lookedAt = Number.NEGATIVE_INFINITY;
      goOn();
    },
    tell(nextWorkAt) {
      heard = { nextWorkAt };
      takesPart = true;
      loop.wake();
    },
    async stop(graceMs) {
      await loop.stop();
      const grace = setTimeout(() => ending.abort(new Error('the server stops')), graceMs);
      await Promise.allSettled([...running, ...beside]);
      clearTimeout(grace);
    },
  };
}

/** Runs claimed refreshes, each on its own; what they begin with is read in one question for all of them. */
function runTogether(services: RefreshServices, claimed: readonly Refresh[], endings: Endings, signal: AbortSignal): Promise<void>[] {
  if (claimed.length === 0) return [];
  const beginnings = readTogether(services, claimed);
  const shared = { rowsToCompare: rowsIn(services), endings, signal };
  return claimed.map((refresh) =>
    runClaimed(services, refresh, { beginning: async () => (await beginnings).get(refresh.itemId) ?? null, ...shared }),
  );
}

function rowsIn({ storage }: RefreshServices): RowsToCompare {
  return (accounts, deletedAfter) => rowsToCompare(storage, accounts, deletedAfter);
}

async function readTogether({ storage, vault }: RefreshServices, claimed: readonly Refresh[]): Promise<ReadonlyMap<number, Beginning>> {
  const beginnings = await readBeginnings(
    storage,
    claimed.map(({ itemId }) => itemId),
  );
  await vault.load(
    storage,
    [...beginnings.values()].map(({ item }) => item.dataKeyId),
  );
  return beginnings;
}

async function runClaimed(services: RefreshServices, refresh: Refresh, together: RunTogether): Promise<void> {
  try {
    await runRefresh(services, refresh, together);
  } catch (error) {
    services.log.error({ refresh: refresh.id, item: refresh.itemId, error }, 'refresh run failed; it runs again when its claim has ended');
  }
}

function claim(services: RefreshServices, wanted: { limit: number; watched?: boolean }): Promise<Refresh[]> {
  return services.storage.transaction((tx) => claimWithin(tx, services, wanted));
}

function claimWithin(
  tx: Writer,
  { storage, clock, claimant }: RefreshServices,
  wanted: { limit: number; applicationId?: string; watched?: boolean },
): Promise<Refresh[]> {
  return claimRefreshes(tx, storage, { now: clock.now(), leaseMs: LEASE_MS, claimant: claimant ?? null, ...wanted });
}

/** What of an application is due and can be claimed now, to its end; answers how much that was. For the test clock, beside or without a server's worker. */
export async function runPass(services: RefreshServices, applicationId: string, signal: AbortSignal): Promise<number> {
  const due = await requestDue(services, applicationId);
  const claimed = await services.storage.transaction((tx) => claimWithin(tx, services, { limit: CONCURRENT_MAX, applicationId }));
  await runTaken(services, claimed, signal);
  return due + claimed.length;
}

/** The first half of a pass among the statements of `tx`; what it answers is for {@link runTaken}, once `tx` is committed. */
export async function takeDue(tx: Writer, services: RefreshServices, applicationId: string): Promise<Refresh[]> {
  await requestDueWithin(tx, services, applicationId);
  return claimWithin(tx, services, { limit: CONCURRENT_MAX, applicationId });
}

export async function runTaken(services: RefreshServices, claimed: readonly Refresh[], signal: AbortSignal): Promise<void> {
  await Promise.all(runTogether(services, claimed, createEndings(services.storage), signal));
}
