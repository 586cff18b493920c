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
  /** Resolves when all such ones until now would survive. Null: they would already. Rejects where the disk refused, now or before. */
  durable(): Promise<void> | null;
  /** Throws where the disk has refused a sync: what is committed from then on would not be kept either. */
  mustHold(): void;
  close(): Promise<void>;
};

/**
 * Systems tell of a write that failed once, and take it for done: the next sync succeeds without it. Everything behind it in the
 * log would go with the next loss of power, so nothing is believed any more. A start reads the log anew, by its checksums.
 */
class SyncRefused extends Error {
  constructor(cause: unknown) {
    super(`the disk has refused to keep the database's log (${String(cause)}): start again once the disk is well`, { cause });
    this.name = 'SyncRefused';
  }
}

/** The write-ahead log of a database that is open in WAL mode. `sync` is for tests, to hold it up. */
export function createLogSync(file: string, sync: (fd: number) => Promise<void> = promisify(fdatasync)): LogSync {
  /** Counted, because the log is written in order: a sync covers whatever was committed before it began. */
  let commits = 0;
  let synced = 0;
  let running: Promise<void> | null = null;
  let opened: Promise<number> | null = null;
  let refused: SyncRefused | null = null;
  const mustHold = () => {
    if (refused) throw refused;
  };

  const run = async () => {
    // After the first commit, which has made the file; it stays the same one as long as a connection is open.
    opened ??= promisify(open)(file, constants.O_RDWR).catch((error: unknown) => {
      opened = null;
      throw error;
    });
    const fd = await opened;
    mustHold();
    const covered = commits;
    await sync(fd).catch((error: unknown) => {
      refused = new SyncRefused(error);
      throw refused;
    });
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
    mustHold,
    async close() {
      await through(commits).catch(() => {});
      if (opened) await promisify(close)(await opened);
    },
  };
}
