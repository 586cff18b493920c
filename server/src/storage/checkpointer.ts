import { Worker } from 'node:worker_threads';

const THREAD = new URL('./checkpoint-thread.ts', import.meta.url);
/**
 * Commits between two checkpoints: about one a second at 200 events a second. On the writing connection a checkpoint waits
 * for the disk twice, and everything behind it too: the slowest 1 % of deliveries then took 26 ms and more instead of 6.
 */
const COMMITS_BETWEEN = 250;
/**
 * The log begins anew only where nothing of it is left to copy, and under load there always is by the time that the thread is
 * done. A log of more than this many pages of 4 KiB, 32 MiB, has its rest copied by the writing connection, at that moment:
 * it is short then. What is left to {@link FORCED_CHECKPOINT_PAGES} is long, and delayed 200 deliveries by up to 70 ms.
 */
const RESTART_PAGES = 8_192;
/** Where the thread does not keep up, the writing connection checkpoints itself at this many pages of 4 KiB: 64 MiB of log. */
export const FORCED_CHECKPOINT_PAGES = 16_384;

/**
 * Where so many commits took longer than this, nobody is there who would wait: the writing connection checkpoints at once.
 * A thread costs 5 MB for as long as it lives, and the heartbeat of an idle server alone would have begun one.
 */
const QUIET_MS = 60_000;

export type Checkpointer = { committed(): void; close(): Promise<void> };

/** Counts commits, and has a thread of its own checkpoint; the thread begins with the first that is due under load. */
export function createCheckpointer(file: string, options: { checkpointHere: () => void; monotonicMs: () => number }): Checkpointer {
  let thread: Worker | null = null;
  let commits = 0;
  let countedFrom = options.monotonicMs();
  let busy = false;

  function start(): Worker {
    const started = new Worker(THREAD, { workerData: { file } });
    started.unref();
    started.on('message', (pages: number) => {
      busy = false;
      if (pages > RESTART_PAGES) here();
    });
    // Without the thread the forced checkpoint remains.
    started.on('error', () => {});
    return started;
  }

  /** A full disk, a transaction under way, or the end: the log keeps everything, and the next one tries again. */
  function here(): void {
    try {
      options.checkpointHere();
    } catch {}
  }

  return {
    committed() {
      commits += 1;
      if (commits < COMMITS_BETWEEN || busy) return;
      commits = 0;
      const now = options.monotonicMs();
      const quiet = now - countedFrom > QUIET_MS;
      countedFrom = now;
      if (quiet) return here();
      busy = true;
      thread ??= start();
      thread.postMessage('checkpoint');
    },
    async close() {
      await thread?.terminate();
    },
  };
}
