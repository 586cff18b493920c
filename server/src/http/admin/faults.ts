/**
 * A receiver that misbehaves on purpose, so that an integrator sees what happens then: deliveries that fail, are slow, come
 * twice, come in another order; and the way on to a receiver of their own.
 */
import { setTimeout as wait } from 'node:timers/promises';

/** Shares are from 0 to 1. */
export type Faults = {
  /** Of the deliveries, answered 500 before anything is done with them. */
  flakyShare: number;
  /** Before each answer. */
  slowMs: number;
  /** Of the deliveries, taken and then answered 500, as by a receiver that ends between the two: they come again. */
  duplicateShare: number;
  /** Neighbours change places: each is answered at once, and handled after the one that follows it. */
  reorder: boolean;
};

export const NO_FAULTS: Faults = { flakyShare: 0, slowMs: 0, duplicateShare: 0, reorder: false };
/** Nobody may follow: then the held one is handled after this. */
const HELD_MAX_MS = 1_000;

export type FaultyAnswer = { status: number; text: string };

/** `handle` does the receiver's own work with a delivery. `random` answers numbers from 0 up to 1. */
export function createFaultyReceiver(faults: Faults, random: () => number) {
  let held: { handle: () => Promise<unknown>; timer: NodeJS.Timeout } | null = null;

  function release(): void {
    if (!held) return;
    const { handle, timer } = held;
    held = null;
    clearTimeout(timer);
    void handle().catch(() => {});
  }

  return {
    async receive(handle: () => Promise<FaultyAnswer>): Promise<FaultyAnswer> {
      if (faults.slowMs > 0) await wait(faults.slowMs);
      if (random() < faults.flakyShare) return { status: 500, text: 'Not taken: --flaky' };
      if (faults.reorder) {
        if (held) {
          const answer = await handle();
          release();
          return answer;
        }
        held = { handle, timer: setTimeout(release, HELD_MAX_MS) };
        held.timer.unref();
        return { status: 200, text: 'Taken, and handled after the next one: --reorder' };
      }
      const answer = await handle();
      return answer.status < 300 && random() < faults.duplicateShare
        ? { status: 500, text: 'Taken, and answered as if it were not: --duplicate' }
        : answer;
    },
    /** Handles what is held. */
    close: release,
  };
}

/** Headers of the connection, which the next one has of its own. */
const OF_THE_CONNECTION = new Set(['connection', 'content-length', 'host', 'keep-alive', 'transfer-encoding']);
const FORWARD_MAX_MS = 10_000;

/** Sends a delivery on as it came, signatures and all, and answers what came back. */
export async function forward(url: string, body: Uint8Array<ArrayBuffer>, headers: Headers): Promise<FaultyAnswer> {
  const kept = [...headers].filter(([name]) => !OF_THE_CONNECTION.has(name));
  try {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: Object.fromEntries(kept),
      redirect: 'manual',
      signal: AbortSignal.timeout(FORWARD_MAX_MS),
    });
    await response.body?.cancel();
    return { status: response.status, text: `${url} answered ${response.status}` };
  } catch (error) {
    const cause = (error as Error).cause;
    return { status: 502, text: `${url} did not answer: ${cause instanceof Error ? cause.message : (error as Error).message}` };
  }
}
