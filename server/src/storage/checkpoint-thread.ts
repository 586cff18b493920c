/** The thread that copies the log of the embedded database into its file: each message asks for one passive checkpoint. */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';

const database = new DatabaseSync((workerData as { file: string }).file);
const checkpoint = database.prepare('pragma wal_checkpoint(passive)');
parentPort?.on('message', () => {
  let pages = 0;
  try {
    pages = (checkpoint.get() as { log: number }).log;
  } catch {
    // A busy or full disk: the log keeps everything, and the next message tries again.
  }
  parentPort?.postMessage(pages);
});
