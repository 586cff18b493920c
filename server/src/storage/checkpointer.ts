import { Worker } from 'node:worker_threads';

const THREAD = new URL('./checkpoint-thread.ts', import.meta.url);
/**
 * Commits between two checkpoints: about one a second at 200 events a second. On the writing connection a checkpoint waits
 * for the disk twice, and everything behind it too: the slowest 1 % of deliveries then took 26 ms and more instead of 6.
 */
const COMMITS_BETWEEN = 250;
/** Where the thread does not keep up, the writing connection checkpoints itself at this many pages of 4 KiB: 64 MiB of log. */
export const FORCED_CHECKPOINT_PAGES = 16_384;

export type Checkpointer = { committed(): void; close(): Promise<void> };

/** Counts commits, and has a thread of its own checkpoint; the thread begins with the first that is due. */
export function createCheckpointer(file: string): Checkpointer {
  let thread: Worker | null = null;
  let commits = 0;
  let busy = false;

  function start(): Worker {
    const started = new Worker(THREAD, { workerData: { file } });
    started.unref();
    started.on('message', () => {
      busy = false;
    });
    // Without the thread the forced checkpoint remains.
    started.on('error', () => {});
    return started;
  }

  return {
    committed() {
      commits += 1;
      if (commits < COMMITS_BETWEEN || busy) return;
      commits = 0;
      busy = true;
      thread ??= start();
      thread.postMessage('checkpoint');
    },
    async close() {
      await thread?.terminate();
    },
  };
}
