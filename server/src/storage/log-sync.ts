/**
 * Makes what is committed to the embedded database's log durable, away from the event loop. SQLite would wait for the disk in
 * the middle of its commit, and everything else with it: 0.5 ms each time, a quarter of all time at 500 commits a second
 * (docs/decisions/0024).
 */
import { close, constants, fdatasync, open } from 'node:fs';
import { promisify } from 'node:util';

export type LogSync = {
  /** A transaction that must survive a loss of power has been committed. */
  committed(): void;
  /** Resolves when all such ones until now would survive. Null: they would already. Rejects where the disk refused. */
  durable(): Promise<void> | null;
  close(): Promise<void>;
};

/** The write-ahead log of a database that is open in WAL mode. `sync` is for tests, to hold it up. */
export function createLogSync(file: string, sync: (fd: number) => Promise<void> = promisify(fdatasync)): LogSync {
  /** Counted, because the log is written in order: a sync covers whatever was committed before it began. */
  let commits = 0;
  let synced = 0;
  let running: Promise<void> | null = null;
  let opened: Promise<number> | null = null;

  const run = async () => {
    // After the first commit, which has made the file; it stays the same one as long as a connection is open.
    opened ??= promisify(open)(file, constants.O_RDWR).catch((error: unknown) => {
      opened = null;
      throw error;
    });
    const fd = await opened;
    const covered = commits;
    await sync(fd);
    synced = covered;
  };
  const through = async (commit: number) => {
    while (synced < commit) {
      running ??= run().finally(() => {
        running = null;
      });
      await running;
    }
  };
  return {
    committed() {
      commits += 1;
    },
    durable: () => (synced === commits ? null : through(commits)),
    async close() {
      await through(commits).catch(() => {});
      if (opened) await promisify(close)(await opened);
    },
  };
}
