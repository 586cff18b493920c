/** Stored rows of accounts as they will be: what the database holds, with what has been worked out and is not written yet. */
import type { TupleReader } from '../../storage/storage.ts';
import { isCompared, rowsToCompare, type TransactionRecord, type WrittenTransaction } from '../../transactions/transactions.ts';
import type { RowsToCompare } from '../context.ts';

/** Of one account: every row that is compared since `since` and deleted after `deletedAfter`, by id. */
type Known = { since: string | null; deletedAfter: number; rows: Map<number, TransactionRecord> };

export type RowMemory = {
  toCompare: RowsToCompare;
  /** As if they were written. */
  put(rows: readonly WrittenTransaction[]): void;
  /** What was put is in the database now. */
  written(): void;
};

export function createRowMemory(reader: TupleReader): RowMemory {
  const knownOf = new Map<number, Known>();
  const unwrittenOf = new Map<number, Map<number, TransactionRecord>>();

  const knows = (id: number, since: string | null, deletedAfter: number) => {
    const known = knownOf.get(id);
    return known !== undefined && known.deletedAfter <= deletedAfter && (known.since ?? '') <= (since ?? '');
  };

  return {
    async toCompare(accounts, deletedAfter) {
      const unknown = accounts.filter(({ id, since }) => !knows(id, since, deletedAfter));
      const read = await rowsToCompare(reader, unknown, deletedAfter);
      for (const { id, since } of unknown) {
        const rows = new Map(read.get(id)!.map((row) => [row.id, row]));
        for (const row of unwrittenOf.get(id)?.values() ?? []) rows.set(row.id, row);
        knownOf.set(id, { since, deletedAfter, rows });
      }
      return new Map(
        accounts.map(({ id, since }) => {
          const compared = [...knownOf.get(id)!.rows.values()].filter((row) => isCompared(row, since, deletedAfter));
          // Windows move forward: what has dropped out of one is not looked at each time again.
          knownOf.set(id, { since, deletedAfter, rows: new Map(compared.map((row) => [row.id, row])) });
          return [id, compared.sort((a, b) => a.id - b.id)];
        }),
      );
    },
    put(rows) {
      for (const { accountId, record } of rows) {
        knownOf.get(accountId)?.rows.set(record.id, record);
        const unwritten = unwrittenOf.get(accountId) ?? new Map<number, TransactionRecord>();
        unwrittenOf.set(accountId, unwritten.set(record.id, record));
      }
    },
    written() {
      unwrittenOf.clear();
    },
  };
}
