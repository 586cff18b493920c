/** What refreshes begin with, in one question for all that begin together: the item, its accounts, what its application wants, and whether its bank is suspended. */
import type { PendingTransition } from '../access/applications.ts';
import { type AccountRecord, type AccountRow, accountFromRow } from '../accounts/accounts.ts';
import { type Item, type ItemRow, itemFromRow } from '../items/items.ts';
import { sql, sqlTable } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';
import type { Circuit } from './schedule/circuit.ts';
import { CIRCUIT_COLUMNS, CIRCUIT_JOIN, type CircuitRow, circuitFromRow } from './schedule/circuits.ts';

export type Beginning = {
  item: Item;
  /** By id, deleted ones too: one that comes back keeps its id. */
  accounts: readonly AccountRecord[];
  /** How far the application's clock is ahead of the real one. */
  clockOffsetMs: number;
  pendingTransition: PendingTransition;
  environment: string;
  /** The application's own bands for unattended refreshes, as they are kept; null without any. */
  refreshBands: string | null;
  /** Null where the bank is not suspended. */
  circuit: Circuit | null;
  /** The `updated_at` that the item's live accounts have until now. */
  accountsUpdatedAt: number;
};

type Prefixed<T> = { [Key in keyof T & string as `a_${Key}`]: T[Key] };
type BeginningRow = ItemRow & {
  clock_offset_ms: number;
  pending_transition: PendingTransition;
  environment: string;
  refresh_bands: string | null;
  accounts_updated_at: number;
} & CircuitRow &
  Prefixed<AccountRow>;

const wantedTable = sqlTable({ id: 'bigint' });

/** By item; one that is gone has none. */
export async function readBeginnings(reader: Reader, itemIds: readonly number[]): Promise<ReadonlyMap<number, Beginning>> {
  const wanted = wantedTable(itemIds.map((id) => ({ id })));
  const rows = await reader.all<BeginningRow>(sql`
    select items.*, applications.clock_offset_ms, applications.pending_transition, applications.environment,
      applications.refresh_bands, ${CIRCUIT_COLUMNS},
      a.id as a_id, a.identity as a_identity, a.name as a_name, a.type as a_type, a.currency as a_currency, a.iban
      as a_iban, a.is_pro as a_is_pro, a.loan_details as a_loan_details, a.savings_details as a_savings_details,
      a.balance_minor as a_balance_minor, a.balance_exponent as a_balance_exponent, a.balance_kind as
      a_balance_kind, a.balance_at as a_balance_at, a.status as a_status, a.status_code_info as a_status_code_info,
      a.trust as a_trust, a.breaker as a_breaker, a.breaker_released_at as a_breaker_released_at, a.breaker_release_taken as
      a_breaker_release_taken, a.next_window_from as a_next_window_from, a.history_complete as
      a_history_complete, a.settled as a_settled, a.absent_since as a_absent_since, a.absences as a_absences,
      a.deleted_at as a_deleted_at
    from ${wanted} as wanted join items on items.id = wanted.id
      join applications on applications.id = items.application_id ${CIRCUIT_JOIN}
      left join accounts a on a.item_id = items.id
    order by items.id, a.id`);
  const byItem = Map.groupBy(rows, ({ id }) => id);
  return new Map([...byItem].map(([id, ofItem]) => [id, beginningOf(ofItem)]));
}

/** Null for an item that is gone. */
export async function readBeginning(reader: Reader, itemId: number): Promise<Beginning | null> {
  return (await readBeginnings(reader, [itemId])).get(itemId) ?? null;
}

/** Of the rows of one item, one for each account, or one without an account. */
function beginningOf(rows: readonly BeginningRow[]): Beginning {
  const first = rows[0]!;
  return {
    item: itemFromRow(first),
    accounts: first.a_id === null ? [] : rows.map((row) => accountFromRow(withoutPrefix(row))),
    clockOffsetMs: first.clock_offset_ms,
    pendingTransition: first.pending_transition,
    environment: first.environment,
    refreshBands: first.refresh_bands,
    circuit: circuitFromRow(first),
    accountsUpdatedAt: first.accounts_updated_at,
  };
}

function withoutPrefix(row: BeginningRow): AccountRow {
  return {
    id: row.a_id,
    identity: row.a_identity,
    name: row.a_name,
    type: row.a_type,
    currency: row.a_currency,
    iban: row.a_iban,
    is_pro: row.a_is_pro,
    loan_details: row.a_loan_details,
    savings_details: row.a_savings_details,
    balance_minor: row.a_balance_minor,
    balance_exponent: row.a_balance_exponent,
    balance_kind: row.a_balance_kind,
    balance_at: row.a_balance_at,
    status: row.a_status,
    status_code_info: row.a_status_code_info,
    trust: row.a_trust,
    breaker: row.a_breaker,
    breaker_released_at: row.a_breaker_released_at,
    breaker_release_taken: row.a_breaker_release_taken,
    next_window_from: row.a_next_window_from,
    history_complete: row.a_history_complete,
    settled: row.a_settled,
    absent_since: row.a_absent_since,
    absences: row.a_absences,
    deleted_at: row.a_deleted_at,
  };
}
