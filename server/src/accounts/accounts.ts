/**
 * Accounts: writes, and what change detection needs of them. The reading of the wire is in `read.ts`.
 * Every live account of a refreshed item is as new as the refresh, changed or not: that moment stands once, on the item
 * (`items.accounts_updated_at`), so that a refresh without changes writes no account.
 */
import type { Money } from '../base/money.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';

export type StoredBalance = { amount: Money; kind: string; at: string | null };

/** An account as a refresh finds it. `trust` and `breaker` are change detection's own words, kept as JSON. */
export type AccountRecord = {
  id: number;
  identity: string | null;
  name: string;
  type: string;
  currency: string;
  iban: string | null;
  isPro: boolean;
  loanDetails: string | null;
  savingsDetails: string | null;
  /** In the account's currency. */
  balance: StoredBalance | null;
  status: number;
  statusCodeInfo: string | null;
  trust: string;
  breaker: string | null;
  /** When the operator released what the breaker holds. His alone: no refresh writes it, so none that runs meanwhile loses it. */
  breakerReleasedAt: number | null;
  /** The release that a refresh has taken; one that is newer waits for the next. */
  breakerReleaseTaken: number | null;
  nextWindowFrom: string | null;
  historyComplete: boolean;
  /** The answer that a whole comparison found nothing new in (JSON of the refresh); forgotten by whatever changes a row. */
  settled: string | null;
  absentSince: number | null;
  absences: number;
  deletedAt: number | null;
};

/** A row of the table, for those who read it with a statement of their own. */
export type AccountRow = {
  id: number;
  identity: string | null;
  name: string;
  type: string;
  currency: string;
  iban: string | null;
  is_pro: number;
  loan_details: string | null;
  savings_details: string | null;
  balance_minor: number | null;
  balance_exponent: number | null;
  balance_kind: string | null;
  balance_at: string | null;
  status: number;
  status_code_info: string | null;
  trust: string;
  breaker: string | null;
  breaker_released_at: number | null;
  breaker_release_taken: number | null;
  next_window_from: string | null;
  history_complete: number;
  settled: string | null;
  absent_since: number | null;
  absences: number;
  deleted_at: number | null;
};

export function accountFromRow(row: AccountRow): AccountRecord {
  return {
    id: row.id,
    identity: row.identity,
    name: row.name,
    type: row.type,
    currency: row.currency,
    iban: row.iban,
    isPro: row.is_pro === 1,
    loanDetails: row.loan_details,
    savingsDetails: row.savings_details,
    balance:
      row.balance_minor === null || row.balance_exponent === null
        ? null
        : {
            amount: { minor: row.balance_minor, exponent: row.balance_exponent, currency: row.currency },
            kind: row.balance_kind ?? '',
            at: row.balance_at,
          },
    status: row.status,
    statusCodeInfo: row.status_code_info,
    trust: row.trust,
    breaker: row.breaker,
    breakerReleasedAt: row.breaker_released_at,
    breakerReleaseTaken: row.breaker_release_taken,
    nextWindowFrom: row.next_window_from,
    historyComplete: row.history_complete === 1,
    settled: row.settled,
    absentSince: row.absent_since,
    absences: row.absences,
    deletedAt: row.deleted_at,
  };
}

/** All accounts of an item, deleted ones too. */
export async function accountsOfItem(reader: Reader, itemId: number): Promise<AccountRecord[]> {
  const rows = await reader.all<AccountRow>(sql`select * from accounts where item_id = ${itemId} order by id`);
  return rows.map(accountFromRow);
}

/** `touchedAt`: the `updated_at` that the item's accounts had until now; one that is deleted keeps it. */
export type AccountOwner = { itemId: number; userUuid: string; bankId: number; touchedAt: number };

const COLUMNS = [
  'id',
  'item_id',
  'user_uuid',
  'bank_id',
  'identity',
  'name',
  'type',
  'currency',
  'iban',
  'is_pro',
  'loan_details',
  'savings_details',
  'balance_minor',
  'balance_exponent',
  'balance_kind',
  'balance_at',
  'status',
  'status_code_info',
  'trust',
  'breaker',
  'breaker_release_taken',
  'next_window_from',
  'history_complete',
  'settled',
  'absent_since',
  'absences',
  'deleted_at',
  'created_at',
  'updated_at',
] as const;

/** What stays as the account was found. */
const FIXED: readonly string[] = ['id', 'item_id', 'user_uuid', 'bank_id', 'is_pro', 'created_at', 'updated_at'];

const ON_CONFLICT = `on conflict (id) do update set
  ${COLUMNS.filter((column) => !FIXED.includes(column))
    .map((column) => `${column} = excluded.${column}`)
    .join(', ')},
  updated_at = case when excluded.updated_at > accounts.updated_at then excluded.updated_at else accounts.updated_at end`;

/** The account as {@link writeAccounts} leaves it; `before` is null where it is new. */
export function writtenAccount(before: AccountRecord | null, account: AccountRecord): AccountRecord {
  return { ...account, isPro: before?.isPro ?? account.isPro, breakerReleasedAt: before?.breakerReleasedAt ?? null };
}

/** `now`: the wire's `updated_at` of one that is live. */
export type WrittenAccount = { owner: AccountOwner; account: AccountRecord; now: number };

/** Writes accounts that refreshes found or changed, in one statement. */
export async function writeAccounts(tx: Writer, accounts: readonly WrittenAccount[]): Promise<void> {
  await tx.insertMany(
    'accounts',
    COLUMNS,
    accounts.map(({ owner, account, now }) => [
      account.id,
      owner.itemId,
      owner.userUuid,
      owner.bankId,
      account.identity,
      account.name,
      account.type,
      account.currency,
      account.iban,
      account.isPro ? 1 : 0,
      account.loanDetails,
      account.savingsDetails,
      account.balance?.amount.minor ?? null,
      account.balance?.amount.exponent ?? null,
      account.balance?.kind ?? null,
      account.balance?.at ?? null,
      account.status,
      account.statusCodeInfo,
      account.trust,
      account.breaker,
      account.breakerReleaseTaken,
      account.nextWindowFrom,
      account.historyComplete ? 1 : 0,
      account.settled,
      account.absentSince,
      account.absences,
      account.deletedAt,
      now,
      account.deletedAt === null ? now : owner.touchedAt,
    ]),
    ON_CONFLICT,
  );
}
