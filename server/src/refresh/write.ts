/** A plan becomes rows: inside the transaction that ends its refresh. */
import { touchAccounts, writeAccounts } from '../accounts/accounts.ts';
import type { Item } from '../items/items.ts';
import type { Writer } from '../storage/storage.ts';
import { cleanDescription } from '../transactions/describe.ts';
import { type TransactionRecord, type WrittenTransaction, writeTransactions } from '../transactions/transactions.ts';
import type { Plan } from './plan.ts';

const UNCATEGORISED = 1;

/** Three statements at most, whatever has changed. `rowIds` are for the new rows, `timestamps` those of the plan's events. */
export async function writePlan(
  tx: Writer,
  item: Pick<Item, 'id' | 'userUuid' | 'bankId'>,
  plan: Plan,
  rowIds: readonly number[],
  timestamps: readonly number[],
): Promise<void> {
  const last = timestamps.at(-1)!;
  const owner = { itemId: item.id, userUuid: item.userUuid, bankId: item.bankId };
  const changed = plan.accounts.filter((account) => account.isNew || account.changed);
  await writeAccounts(
    tx,
    owner,
    changed.map(({ record }) => record),
    last,
  );
  await touchAccounts(tx, item.id, last);
  await writeTransactions(tx, item.userUuid, rowsOf(plan, rowIds, timestamps));
}

/**
 * Rows that an event counts carry that event's timestamp, so that `updated?since=` its timestamp answers exactly them;
 * what is not counted (a hold, an id learned) keeps its own.
 */
function rowsOf(plan: Plan, rowIds: readonly number[], timestamps: readonly number[]): WrittenTransaction[] {
  let used = 0;
  return plan.accounts.flatMap(({ record: { id: accountId }, event, rows }) => {
    const updatedAt = event === null ? null : timestamps[event]!;
    const born = rows.created.map(({ row, observation }) => ({
      accountId,
      record: { ...row, id: rowIds[used++]! },
      presentation: {
        cleanDescription: cleanDescription(row.rawText),
        categoryId: observation.categoryId ?? UNCATEGORISED,
        showClientSide: observation.showClientSide ?? true,
      },
      updatedAt: updatedAt ?? timestamps.at(-1)!,
    }));
    const changed = (records: readonly TransactionRecord[], at: number | null) =>
      records.map((record) => ({ accountId, record, presentation: null, updatedAt: at }));
    return [...born, ...changed(rows.counted, updatedAt), ...changed(rows.uncounted, null)];
  });
}
