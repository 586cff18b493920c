/** Why the rows of a refresh were counted: one record for each counted row, written with it and never changed. */
import { type Money, toNumber } from '../base/money.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';

export type ChangeKind = 'new' | 'updated' | 'deleted' | 'resurrected';

/** A row as a client sees it, in the names of the wire. */
export type ShownRow = {
  status: string;
  amount: number;
  currency_code: string;
  date: string;
  booking_date: string | null;
  transaction_date: string | null;
  value_date: string | null;
  bank_description: string;
};

export type ChangeRecord = {
  accountId: number;
  transactionId: number;
  kind: ChangeKind;
  /** The rule that decided; the words of change detection. */
  stage: string;
  evidence: Readonly<Record<string, unknown>>;
  /** Null before the row was born. */
  before: ShownRow | null;
  /** Null once it is deleted. */
  after: ShownRow | null;
};

export type KeptChange = ChangeRecord & { n: number };

type Described = {
  readonly status: string;
  readonly amount: Money;
  readonly date: string;
  readonly bookingDate: string | null;
  readonly transactionDate: string | null;
  readonly valueDate: string | null;
  readonly rawText: string;
};

export function shownRow({ status, amount, date, bookingDate, transactionDate, valueDate, rawText }: Described): ShownRow {
  return {
    status,
    amount: toNumber(amount),
    currency_code: amount.currency,
    date,
    booking_date: bookingDate,
    transaction_date: transactionDate,
    value_date: valueDate,
    bank_description: rawText,
  };
}

const COLUMNS = ['refresh_id', 'account_id', 'n', 'transaction_id', 'kind', 'stage', 'evidence', 'row_before', 'row_after'] as const;

export type WrittenChange = { refreshId: string; change: ChangeRecord };

/** One statement. Changes of a refresh are in the order in which they are to be told, account by account. */
export async function writeChanges(tx: Writer, changes: readonly WrittenChange[]): Promise<void> {
  let place = '';
  let n = 0;
  await tx.insertMany(
    'changes',
    COLUMNS,
    changes.map(({ refreshId, change: { accountId, transactionId, kind, stage, evidence, before, after } }) => {
      const here = `${refreshId} ${accountId}`;
      n = here === place ? n + 1 : 1;
      place = here;
      const text = (row: ShownRow | null) => row && JSON.stringify(row);
      return [refreshId, accountId, n, transactionId, kind, stage, JSON.stringify(evidence), text(before), text(after)];
    }),
  );
}

type ChangeRow = {
  account_id: number;
  n: number;
  transaction_id: number;
  kind: ChangeKind;
  stage: string;
  evidence: string;
  row_before: string | null;
  row_after: string | null;
};

function fromRow(row: ChangeRow): KeptChange {
  const shown = (text: string | null) => (text === null ? null : (JSON.parse(text) as ShownRow));
  return {
    accountId: row.account_id,
    n: row.n,
    transactionId: row.transaction_id,
    kind: row.kind,
    stage: row.stage,
    evidence: JSON.parse(row.evidence) as Record<string, unknown>,
    before: shown(row.row_before),
    after: shown(row.row_after),
  };
}

/** The changes of a refresh by account and `n`, beyond `after`; at most `limit`. */
export async function changesOfRefresh(
  reader: Reader,
  refreshId: string,
  options: { after: { accountId: number; n: number } | null; limit: number },
): Promise<KeptChange[]> {
  const beyond = options.after === null ? sql`` : sql`and (account_id, n) > (${options.after.accountId}, ${options.after.n})`;
  const rows = await reader.all<ChangeRow>(sql`
    select account_id, n, transaction_id, kind, stage, evidence, row_before, row_after from changes
    where refresh_id = ${refreshId} ${beyond} order by account_id, n limit ${options.limit}`);
  return rows.map(fromRow);
}

/** Part of the changes that one event counts: those with `after < n <= through`. */
export type ChangeRange = { refreshId: string; accountId: number; after: number; through: number };

/** Ranges that one statement asks for: each is one look at the primary key. */
const RANGES_PER_STATEMENT = 50;

/** The changes of these ranges, range by range, each by `n`. */
export async function changesOfRanges(reader: Reader, ranges: readonly ChangeRange[]): Promise<KeptChange[][]> {
  const found = new Map<string, KeptChange[]>(ranges.map((range) => [keyOf(range), []]));
  for (let first = 0; first < ranges.length; first += RANGES_PER_STATEMENT) {
    const wanted = ranges
      .slice(first, first + RANGES_PER_STATEMENT)
      .map(
        ({ refreshId, accountId, after, through }) =>
          sql`(refresh_id = ${refreshId} and account_id = ${accountId} and n > ${after} and n <= ${through})`,
      )
      .reduce((all, range) => sql`${all} or ${range}`);
    const rows = await reader.all<ChangeRow & { refresh_id: string }>(sql`
      select refresh_id, account_id, n, transaction_id, kind, stage, evidence, row_before, row_after from changes
      where ${wanted} order by refresh_id, account_id, n`);
    for (const row of rows) found.get(keyOf({ refreshId: row.refresh_id, accountId: row.account_id }))!.push(fromRow(row));
  }
  return ranges.map((range) => found.get(keyOf(range))!);
}

function keyOf({ refreshId, accountId }: Pick<ChangeRange, 'refreshId' | 'accountId'>): string {
  return `${refreshId} ${accountId}`;
}
