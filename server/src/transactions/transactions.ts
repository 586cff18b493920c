/** Transactions: the stored rows in the words of change detection's input, and their writes. The wire's reading is in `read.ts`. */
import type { Money } from '../base/money.ts';
import { sql, sqlList } from '../storage/sql.ts';
import type { TupleReader, Writer } from '../storage/storage.ts';

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

/** What clients are shown beside what is compared. The category stays as it was when the row was born; the rest follows the bank's row. */
export type Presentation = { cleanDescription: string; categoryId: number; showClientSide: boolean };

/** As {@link COMPARED} has it. */
type ComparedRow = readonly [
  id: number,
  accountId: number,
  status: TransactionRecord['status'] | null,
  amountMinor: number,
  amountExponent: number | null,
  currency: string | null,
  date: string,
  dateSource: TransactionRecord['dateSource'] | null,
  bookingDate: string | null,
  valueDate: string | null,
  transactionDate: string | null,
  rawText: string,
  counterpartyName: string | null,
  counterpartyIban: string | null,
  endToEndId: string | null,
  providerId: string | null,
  aliases: string | null,
  balanceAfterMinor: number | null,
  balanceAfterExponent: number | null,
  missing: number | null,
  missingAt: number | null,
  deletedAt: number | null,
];

/**
 * What most rows have alike travels as null (see `fromRow`), and a null date as an empty one: to fetch and parse the values of
 * 450 rows was a third of a changed refresh's time. So, and as tuples, they cost the processor half of that.
 */
const COMPARED = sql`
  id, account_id, nullif(status, 'booked') as status, amount_minor, nullif(amount_exponent, 2) as amount_exponent,
  nullif(currency, 'EUR') as currency, date, nullif(date_source, 'booking') as date_source,
  nullif(coalesce(booking_date, ''), date) as booking_date, value_date,
  nullif(coalesce(transaction_date, ''), date) as transaction_date, bank_description, counterparty_name, counterparty_iban,
  end_to_end_id, provider_id, nullif(aliases, '[]') as aliases, balance_after_minor, balance_after_exponent,
  nullif(missing, 0) as missing, missing_at, deleted_at`;

/** Since a date, or of all time with null. */
export type ComparedAccount = { id: number; since: string | null };

/** Whether a row is among those that {@link rowsToCompare} answers for its account. */
export function isCompared(record: TransactionRecord, since: string | null, deletedAfter: number): boolean {
  if (record.deletedAt !== null && record.deletedAt <= deletedAfter) return false;
  return record.status !== 'booked' || record.missing > 0 || record.date >= (since ?? '');
}

/**
 * What change detection compares: per account the live rows dated from `since` on (all of them with null), those deleted after
 * `deletedAfter`, and every row that is pending or under suspicion, wherever it stands. One query for a whole item.
 */
export async function rowsToCompare(
  reader: TupleReader,
  accounts: readonly ComparedAccount[],
  deletedAfter: number,
): Promise<Map<number, TransactionRecord[]>> {
  const byAccount = new Map<number, TransactionRecord[]>(accounts.map(({ id }) => [id, []]));
  if (accounts.length === 0) return byAccount;
  const since = accounts.every((account) => account.since !== null) ? accounts.map((account) => account.since!).sort()[0]! : '';
  const ids = sqlList(accounts.map(({ id }) => id));
  // In three parts, each with an index of its own: as one condition it reads every row of the accounts.
  const rows = await reader.tuples<ComparedRow>(sql`
    select ${COMPARED} from transactions
      where account_id in ${ids} and date >= ${since} and (deleted_at is null or deleted_at > ${deletedAfter})
    union all select ${COMPARED} from transactions
      where account_id in ${ids} and deleted_at is null and (status <> 'booked' or missing > 0) and date < ${since}
    union all select ${COMPARED} from transactions
      where account_id in ${ids} and deleted_at > ${deletedAfter} and (status <> 'booked' or missing > 0) and date < ${since}`);
  const sinceOf = new Map(accounts.map((account) => [account.id, account.since]));
  for (const row of rows) {
    // What an account is compared with is for its own answer to say, not for those of its neighbours.
    const record = fromRow(row);
    const accountId = row[1];
    if (isCompared(record, sinceOf.get(accountId)!, deletedAfter)) byAccount.get(accountId)!.push(record);
  }
  // Here, because a database that sorts carries all their columns along.
  for (const records of byAccount.values()) records.sort((a, b) => a.id - b.id);
  return byAccount;
}

const NO_ALIASES: readonly string[] = [];

function fromRow(row: ComparedRow): TransactionRecord {
  const id = row[0];
  const status = row[2];
  const minor = row[3];
  const exponent = row[4];
  const currencyCode = row[5];
  const date = row[6];
  const dateSource = row[7];
  const bookingDate = row[8];
  const valueDate = row[9];
  const transactionDate = row[10];
  const rawText = row[11];
  const counterpartyName = row[12];
  const counterpartyIban = row[13];
  const endToEndId = row[14];
  const providerId = row[15];
  const aliases = row[16];
  const balanceMinor = row[17];
  const balanceExponent = row[18];
  const missing = row[19];
  const missingAt = row[20];
  const deletedAt = row[21];
  const currency = currencyCode ?? 'EUR';
  return {
    id,
    status: status ?? 'booked',
    amount: { minor, exponent: exponent ?? 2, currency },
    date,
    dateSource: dateSource ?? 'booking',
    bookingDate: dateOr(bookingDate, date),
    valueDate,
    transactionDate: dateOr(transactionDate, date),
    rawText,
    counterpartyName,
    counterpartyIban,
    endToEndId,
    providerId,
    aliases: aliases === null ? NO_ALIASES : (JSON.parse(aliases) as string[]),
    balanceAfter: balanceMinor === null || balanceExponent === null ? null : { minor: balanceMinor, exponent: balanceExponent, currency },
    missing: missing ?? 0,
    missingAt,
    deletedAt,
  };
}

/** Of a column that is null where it is the row's date. */
function dateOr(shown: string | null, date: string): string | null {
  return shown === null ? date : shown === '' ? null : shown;
}

/** A row to write. One that exists keeps its category, and with null all of its presentation. */
export type WrittenTransaction = {
  userUuid: string;
  accountId: number;
  record: TransactionRecord;
  presentation: Presentation | Omit<Presentation, 'categoryId'> | null;
  /** Null for what is not counted (a hold, an id learned): clients that ask `updated?since=` must not see it. */
  updatedAt: number | null;
};

const COLUMNS = [
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
] as const;

/** What stays as it was born. */
const FIXED: readonly string[] = ['id', 'account_id', 'user_uuid', 'category_id', 'created_at', 'updated_at'];
/** What stays where no presentation is given. */
const PRESENTED: readonly string[] = ['clean_description', 'show_client_side'];
/** Stands for no value in a column that has none of its own for it. */
const KEPT = -1;

/** Event timestamps of a user only grow, so the later of both is the new one where there is one. */
const ON_CONFLICT = `on conflict (id) do update set
  ${COLUMNS.filter((column) => !FIXED.includes(column) && !PRESENTED.includes(column))
    .map((column) => `${column} = excluded.${column}`)
    .join(', ')},
  clean_description = case when excluded.show_client_side = ${KEPT} then transactions.clean_description else excluded.clean_description end,
  show_client_side = case when excluded.show_client_side = ${KEPT} then transactions.show_client_side else excluded.show_client_side end,
  updated_at = case when excluded.updated_at > transactions.updated_at then excluded.updated_at else transactions.updated_at end`;

/** Writes rows of refreshes, new ones and changed ones alike, in one statement. */
export async function writeTransactions(tx: Writer, rows: readonly WrittenTransaction[]): Promise<void> {
  await tx.insertMany(
    'transactions',
    COLUMNS,
    rows.map(({ userUuid, accountId, record, presentation, updatedAt }) => {
      return [
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
        presentation?.cleanDescription ?? '',
        presentation !== null && 'categoryId' in presentation ? presentation.categoryId : 0,
        presentation === null ? KEPT : presentation.showClientSide ? 1 : 0,
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
        updatedAt ?? 0,
        updatedAt ?? 0,
      ];
    }),
    ON_CONFLICT,
  );
}
