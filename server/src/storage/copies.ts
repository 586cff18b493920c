/** Copies of the embedded database as single files. */
import { DatabaseSync } from 'node:sqlite';

/** Makes a copy that `Storage.backup` wrote complete in itself: no write-ahead log beside it. */
export function closeCopy(file: string): void {
  const copy = new DatabaseSync(file);
  try {
    copy.exec('pragma journal_mode = delete');
  } finally {
    copy.close();
  }
}

/** What is wrong with a database file, or null; a file that is no database at all throws. May write beside the file. */
export function damageOf(file: string): string | null {
  const database = new DatabaseSync(file);
  try {
    const row = database.prepare('pragma integrity_check(1)').get() as { integrity_check: string };
    return row.integrity_check === 'ok' ? null : row.integrity_check;
  } finally {
    database.close();
  }
}
