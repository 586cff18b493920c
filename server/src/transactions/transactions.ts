/** Transactions: the stored rows in the words of change detection's input, and their writes. The wire's reading is in `read.ts`. */
import type { Money } from '../base/money.ts';
import { sql, sqlList } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';

export type TransactionRecord = {
  id: number;
  status: 'booked' | 'pending' | 'scheduled';
  amount: Money;
  date: string;
  dateSource: 'booking' | 'transaction' | 'value';
  bookingDate: string | null;
  valueDate: string | null;
  transactionDate: string | null;
  rawText: string;
  counterpartyName: string | null;
  counterpartyIban: string | null;
  endToEndId: string | null;
  providerId: string | null;
  aliases: readonly string[];
  balanceAfter: Money | null;
  missing: number;
  missingAt: number | null;
  deletedAt: number | null;
};

/** What is computed once, when a row is born, and never changed after. */
export type Presentation = { cleanDescription: string; categoryId: number; showClientSide: boolean };

type TransactionRow = {
  id: number;
  account_id: number;
  status: TransactionRecord['status'];
  amount_minor: number;
  amount_exponent: number;
  currency: string;
  date: string;
  date_source: TransactionRecord['dateSource'];
  booking_date: string | null;
  value_date: string | null;
  transaction_date: string | null;
  bank_description: string;
  counterparty_name: string | null;
  counterparty_iban: string | null;
  end_to_end_id: string | null;
  provider_id: string | null;
  aliases: string;
  balance_after_minor: number | null;
  balance_after_exponent: number | null;
  missing: number;
  missing_at: number | null;
  deleted_at: number | null;
};

/**
 * What change detection compares: per account the live rows dated from `since` on (all of them with null), those deleted after
 * `deletedAfter`, and every row that is pending or under suspicion, wherever it stands. One query for a whole item.
 */
export async function rowsToCompare(
  reader: Reader,
  accounts: readonly { id: number; since: string | null }[],
  deletedAfter: number,
): Promise<Map<number, TransactionRecord[]>> {
  const byAccount = new Map<number, TransactionRecord[]>(accounts.map(({ id }) => [id, []]));
  if (accounts.length === 0) return byAccount;
  const since = accounts.every((account) => account.since !== null) ? accounts.map((account) => account.since!).sort()[0]! : '';
  const rows = await reader.all<TransactionRow>(sql`
    select id, account_id, status, amount_minor, amount_exponent, currency, date, date_source, booking_date, value_date, transaction_date,
      bank_description, counterparty_name, counterparty_iban, end_to_end_id, provider_id, aliases, balance_after_minor,
      balance_after_exponent, missing, missing_at, deleted_at
    from transactions
    where account_id in ${sqlList(accounts.map(({ id }) => id))}
      and (date >= ${since} or status <> 'booked' or missing > 0) and (deleted_at is null or deleted_at > ${deletedAfter})
    order by account_id, id`);
  for (const row of rows) byAccount.get(row.account_id)!.push(fromRow(row));
  return byAccount;
}

const NO_ALIASES: readonly string[] = [];

function fromRow(row: TransactionRow): TransactionRecord {
  return {
    id: row.id,
    status: row.status,
    amount: { minor: row.amount_minor, exponent: row.amount_exponent, currency: row.currency },
    date: row.date,
    dateSource: row.date_source,
    bookingDate: row.booking_date,
    valueDate: row.value_date,
    transactionDate: row.transaction_date,
    rawText: row.bank_description,
    counterpartyName: row.counterparty_name,
    counterpartyIban: row.counterparty_iban,
    endToEndId: row.end_to_end_id,
    providerId: row.provider_id,
    aliases: row.aliases === '[]' ? NO_ALIASES : (JSON.parse(row.aliases) as string[]),
    balanceAfter:
      row.balance_after_minor === null || row.balance_after_exponent === null
        ? null
        : { minor: row.balance_after_minor, exponent: row.balance_after_exponent, currency: row.currency },
    missing: row.missing,
    missingAt: row.missing_at,
    deletedAt: row.deleted_at,
  };
}

export type NewTransaction = { accountId: number; record: TransactionRecord; presentation: Presentation };

export async function insertTransactions(tx: Writer, userUuid: string, rows: readonly NewTransaction[], updatedAt: number): Promise<void> {
  const columns = [
    'id',
    'account_id',
    'user_uuid',
    'status',
    'amount_minor',
    'amount_exponent',
    'currency',
    'date',
    'date_source',
    'booking_date',
    'transaction_date',
    'value_date',
    'bank_description',
    'clean_description',
    'category_id',
    'show_client_side',
    'counterparty_name',
    'counterparty_iban',
    'end_to_end_id',
    'provider_id',
    'aliases',
    'balance_after_minor',
    'balance_after_exponent',
    'missing',
    'missing_at',
    'is_deleted',
    'deleted_at',
    'created_at',
    'updated_at',
  ];
  await tx.insertMany(
    'transactions',
    columns,
    rows.map(({ accountId, record, presentation }) => [
      record.id,
      accountId,
      userUuid,
      record.status,
      record.amount.minor,
      record.amount.exponent,
      record.amount.currency,
      record.date,
      record.dateSource,
      record.bookingDate,
      record.transactionDate,
      record.valueDate,
      record.rawText,
      presentation.cleanDescription,
      presentation.categoryId,
      presentation.showClientSide ? 1 : 0,
      record.counterpartyName,
      record.counterpartyIban,
      record.endToEndId,
      record.providerId,
      JSON.stringify(record.aliases),
      record.balanceAfter?.minor ?? null,
      record.balanceAfter?.exponent ?? null,
      record.missing,
      record.missingAt,
      record.deletedAt === null ? 0 : 1,
      record.deletedAt,
      updatedAt,
      updatedAt,
    ]),
  );
}

/** `updatedAt` null for what is not counted (a hold, an id learned): clients that ask `updated?since=` must not see it. */
export async function updateTransaction(tx: Writer, record: TransactionRecord, updatedAt: number | null): Promise<void> {
  await tx.run(sql`
    update transactions set status = ${record.status}, amount_minor = ${record.amount.minor}, amount_exponent = ${record.amount.exponent},
      currency = ${record.amount.currency}, date = ${record.date}, date_source = ${record.dateSource}, booking_date = ${record.bookingDate},
      transaction_date = ${record.transactionDate}, value_date = ${record.valueDate}, bank_description = ${record.rawText},
      counterparty_name = ${record.counterpartyName}, counterparty_iban = ${record.counterpartyIban}, end_to_end_id = ${record.endToEndId},
      provider_id = ${record.providerId}, aliases = ${JSON.stringify(record.aliases)},
      balance_after_minor = ${record.balanceAfter?.minor ?? null}, balance_after_exponent = ${record.balanceAfter?.exponent ?? null},
      missing = ${record.missing}, missing_at = ${record.missingAt}, is_deleted = ${record.deletedAt === null ? 0 : 1},
      deleted_at = ${record.deletedAt}, updated_at = coalesce(${updatedAt}, updated_at)
    where id = ${record.id}`);
}
