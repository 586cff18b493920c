/**
 * Lookups of names share the process's four threads, and one holds its thread for as long as a name server is silent. So
 * few run at once, and of names that were slow before only one: they wait for each other, and nobody waits for them.
 */
import { promises as dns, type LookupAddress } from 'node:dns';

/** All addresses of a name. */
export type Resolve = (hostname: string) => Promise<LookupAddress[]>;

/** One thread less than there are (libuv's default): files and keys need some, too. */
const LOOKUPS_MAX = 3;
const SLOW_LOOKUPS_MAX = 1;
/** A name server in the same country answers within 50 ms, one that lost a packet after some seconds. */
const SLOW_MS = 1_000;
/** Names remembered as slow; beyond them the oldest is forgotten. */
const SLOW_NAMES_MAX = 10_000;

type Waiting = { hostname: string; resolved: (addresses: LookupAddress[]) => void; failed: (error: unknown) => void };

/** `monotonicMs` tells how long a lookup took. */
export function createLookups(resolve: Resolve, monotonicMs: () => number): Resolve {
  const slow = new Set<string>();
  const waiting: Waiting[] = [];
  let running = 0;
  let runningSlow = 0;

  function next() {
    while (running < LOOKUPS_MAX) {
      const index = waiting.findIndex(({ hostname }) => runningSlow < SLOW_LOOKUPS_MAX || !slow.has(hostname));
      if (index === -1) return;
      void run(waiting.splice(index, 1)[0]!);
    }
  }

  async function run({ hostname, resolved, failed }: Waiting) {
    const startedAt = monotonicMs();
    const countedSlow = slow.has(hostname);
    running += 1;
    if (countedSlow) runningSlow += 1;
    try {
      resolved(await resolve(hostname));
    } catch (error) {
      failed(error);
    } finally {
      running -= 1;
      if (countedSlow) runningSlow -= 1;
      remember(hostname, monotonicMs() - startedAt >= SLOW_MS);
      next();
    }
  }

  function remember(hostname: string, wasSlow: boolean) {
    slow.delete(hostname);
    if (!wasSlow) return;
    slow.add(hostname);
    if (slow.size > SLOW_NAMES_MAX) for (const oldest of slow) return void slow.delete(oldest);
  }

  return (hostname) =>
    new Promise((resolved, failed) => {
      waiting.push({ hostname, resolved, failed });
      next();
    });
}

export const resolveBySystem: Resolve = createLookups(
  (hostname) => dns.lookup(hostname, { all: true }),
  () => performance.now(),
);
