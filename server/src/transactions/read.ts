/** Reading transactions as the wire shows them: a snapshot without deleted rows, and the list of changes with them. */
import { sql } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';

export type ShownTransaction = {
  id: number;
  accountId: number;
  status: 'booked' | 'pending' | 'scheduled';
  amount: { minor: number; exponent: number };
  currency: string;
  /** `YYYY-MM-DD`, like the three that may be unknown. */
  date: string;
  bookingDate: string | null;
  transactionDate: string | null;
  valueDate: string | null;
  bankDescription: string;
  cleanDescription: string;
  categoryId: number;
  showClientSide: boolean;
  isDeleted: boolean;
  updatedAt: number;
};

type TransactionRow = {
  id: number;
  account_id: number;
  status: 'booked' | 'pending' | 'scheduled';
  amount_minor: number;
  amount_exponent: number;
  currency: string;
  date: string;
  booking_date: string | null;
  transaction_date: string | null;
  value_date: string | null;
  bank_description: string;
  clean_description: string;
  category_id: number;
  show_client_side: number;
  is_deleted: number;
  updated_at: number;
};

const COLUMNS = sql`id, account_id, status, amount_minor, amount_exponent, currency, date, booking_date, transaction_date, value_date,
  bank_description, clean_description, category_id, show_client_side, is_deleted, updated_at`;

function fromRow(row: TransactionRow): ShownTransaction {
  return {
    id: row.id,
    accountId: row.account_id,
    status: row.status,
    amount: { minor: row.amount_minor, exponent: row.amount_exponent },
    currency: row.currency,
    date: row.date,
    bookingDate: row.booking_date,
    transactionDate: row.transaction_date,
    valueDate: row.value_date,
    bankDescription: row.bank_description,
    cleanDescription: row.clean_description,
    categoryId: row.category_id,
    showClientSide: row.show_client_side === 1,
    isDeleted: row.is_deleted === 1,
    updatedAt: row.updated_at,
  };
}

/** All of a user, or those of one account of theirs. */
export type TransactionScope = { userUuid: string; accountId: number | null };

function within(scope: TransactionScope) {
  return scope.accountId === null
    ? sql`user_uuid = ${scope.userUuid}`
    : sql`account_id = ${scope.accountId} and user_uuid = ${scope.userUuid}`;
}

/** By date and id, both descending, beyond `after`; `since` and `until` are inclusive dates. */
export async function listTransactions(
  reader: Reader,
  scope: TransactionScope,
  options: { since: string | null; until: string | null; after: { date: string; id: number } | null; limit: number },
): Promise<ShownTransaction[]> {
  const since = options.since === null ? sql`` : sql`and date >= ${options.since}`;
  const until = options.until === null ? sql`` : sql`and date <= ${options.until}`;
  const beyond = options.after === null ? sql`` : sql`and (date, id) < (${options.after.date}, ${options.after.id})`;
  const rows = await reader.all<TransactionRow>(sql`
    select ${COLUMNS} from transactions
    where ${within(scope)} and is_deleted = 0 ${since} ${until} ${beyond}
    order by date desc, id desc limit ${options.limit}`);
  return rows.map(fromRow);
}

/** By moment of change and id, both descending, beyond `after`, deleted ones too; `since` is inclusive, epoch milliseconds. */
export async function listUpdatedTransactions(
  reader: Reader,
  scope: TransactionScope,
  options: { since: number | null; after: { updatedAt: number; id: number } | null; limit: number },
): Promise<ShownTransaction[]> {
  const since = options.since === null ? sql`` : sql`and updated_at >= ${options.since}`;
  const beyond = options.after === null ? sql`` : sql`and (updated_at, id) < (${options.after.updatedAt}, ${options.after.id})`;
  const rows = await reader.all<TransactionRow>(sql`
    select ${COLUMNS} from transactions
    where ${within(scope)} ${since} ${beyond}
    order by updated_at desc, id desc limit ${options.limit}`);
  return rows.map(fromRow);
}

export async function findUserTransaction(reader: Reader, userUuid: string, transactionId: number): Promise<ShownTransaction | null> {
  const row = await reader.first<TransactionRow>(
    sql`select ${COLUMNS} from transactions where id = ${transactionId} and user_uuid = ${userUuid}`,
  );
  return row ? fromRow(row) : null;
}
