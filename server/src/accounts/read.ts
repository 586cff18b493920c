/** Reading accounts as the wire shows them. A deleted account has left the list and stays readable by its id. */
import { sql } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';

export type ShownAccount = {
  id: number;
  itemId: number;
  bankId: number;
  name: string;
  type: string;
  currency: string;
  iban: string | null;
  isPro: boolean;
  /** JSON, as the connector gave it. */
  loanDetails: string | null;
  savingsDetails: string | null;
  balance: { minor: number; exponent: number } | null;
  status: number;
  statusCodeInfo: string | null;
  updatedAt: number;
};

type AccountRow = {
  id: number;
  item_id: number;
  bank_id: number;
  name: string;
  type: string;
  currency: string;
  iban: string | null;
  is_pro: number;
  loan_details: string | null;
  savings_details: string | null;
  balance_minor: number | null;
  balance_exponent: number | null;
  status: number;
  status_code_info: string | null;
  updated_at: number;
};

/** A live account is as new as the newest refresh of its item, which the item remembers for all of them. */
const SELECT = sql`select a.id, a.item_id, a.bank_id, a.name, a.type, a.currency, a.iban, a.is_pro, a.loan_details, a.savings_details,
  a.balance_minor, a.balance_exponent, a.status, a.status_code_info,
  case when a.deleted_at is null and i.accounts_updated_at > a.updated_at then i.accounts_updated_at else a.updated_at end as updated_at
  from accounts a join items i on i.id = a.item_id`;

function fromRow(row: AccountRow): ShownAccount {
  return {
    id: row.id,
    itemId: row.item_id,
    bankId: row.bank_id,
    name: row.name,
    type: row.type,
    currency: row.currency,
    iban: row.iban,
    isPro: row.is_pro === 1,
    loanDetails: row.loan_details,
    savingsDetails: row.savings_details,
    balance:
      row.balance_minor === null || row.balance_exponent === null ? null : { minor: row.balance_minor, exponent: row.balance_exponent },
    status: row.status,
    statusCodeInfo: row.status_code_info,
    updatedAt: row.updated_at,
  };
}

/** By id descending, below `after`; of one item or of all; at most `limit`. */
export async function listUserAccounts(
  reader: Reader,
  options: { userUuid: string; itemId: number | null; after: number | null; limit: number },
): Promise<ShownAccount[]> {
  const ofItem = options.itemId === null ? sql`` : sql`and a.item_id = ${options.itemId}`;
  const beyond = options.after === null ? sql`` : sql`and a.id < ${options.after}`;
  const rows = await reader.all<AccountRow>(sql`
    ${SELECT}
    where a.user_uuid = ${options.userUuid} and a.deleted_at is null ${ofItem} ${beyond}
    order by a.id desc limit ${options.limit}`);
  return rows.map(fromRow);
}

export async function findUserAccount(reader: Reader, userUuid: string, accountId: number): Promise<ShownAccount | null> {
  const row = await reader.first<AccountRow>(sql`${SELECT} where a.id = ${accountId} and a.user_uuid = ${userUuid}`);
  return row ? fromRow(row) : null;
}

/** Whether the account is of an item of this application, deleted or not. */
export async function accountInApplication(reader: Reader, applicationId: string, accountId: number): Promise<boolean> {
  const row = await reader.first(
    sql`select a.id from accounts a join items i on i.id = a.item_id where a.id = ${accountId} and i.application_id = ${applicationId}`,
  );
  return row !== undefined;
}
