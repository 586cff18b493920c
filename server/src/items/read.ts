/** Reading items as the wire shows them. Every question names the user, so that no id of another tenant has an answer. */
import { sql } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';

export type ShownItem = { id: number; status: number; statusCodeInfo: string | null; bankId: number };

type ItemRow = { id: number; status: number; status_code_info: string | null; bank_id: number };

function fromRow(row: ItemRow): ShownItem {
  return { id: row.id, status: row.status, statusCodeInfo: row.status_code_info, bankId: row.bank_id };
}

/** By id descending, below `after`; at most `limit`. */
export async function listUserItems(
  reader: Reader,
  options: { userUuid: string; after: number | null; limit: number },
): Promise<ShownItem[]> {
  const beyond = options.after === null ? sql`` : sql`and id < ${options.after}`;
  const rows = await reader.all<ItemRow>(sql`
    select id, status, status_code_info, bank_id from items
    where user_uuid = ${options.userUuid} ${beyond} order by id desc limit ${options.limit}`);
  return rows.map(fromRow);
}

export async function findUserItem(reader: Reader, userUuid: string, itemId: number): Promise<ShownItem | null> {
  const row = await reader.first<ItemRow>(
    sql`select id, status, status_code_info, bank_id from items where id = ${itemId} and user_uuid = ${userUuid}`,
  );
  return row ? fromRow(row) : null;
}

/** How the refreshes of an application ended since a moment of its clock, bank by bank. Wrong credentials say nothing of a bank. */
export async function refreshOutcomes(
  reader: Reader,
  applicationId: string,
  since: number,
): Promise<{ bankId: number; succeeded: number; failed: number }[]> {
  const rows = await reader.all<{ bank_id: number; state: string; total: number }>(sql`
    select items.bank_id, refreshes.state, count(*) as total
    from items join refreshes on refreshes.item_id = items.id
    where items.application_id = ${applicationId} and refreshes.started_at >= ${since}
      and refreshes.state in ('finished', 'finished_error')
    group by items.bank_id, refreshes.state`);
  const outcomes = new Map<number, { bankId: number; succeeded: number; failed: number }>();
  for (const row of rows) {
    const outcome = outcomes.get(row.bank_id) ?? { bankId: row.bank_id, succeeded: 0, failed: 0 };
    if (row.state === 'finished') outcome.succeeded = row.total;
    else outcome.failed = row.total;
    outcomes.set(row.bank_id, outcome);
  }
  return [...outcomes.values()];
}
