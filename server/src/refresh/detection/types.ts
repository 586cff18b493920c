/**
 * The data of change detection: what is stored, what a refresh found, and what it means.
 * Everything here is plain data; times are epoch milliseconds of the application's clock.
 */
import type { Money } from '../../base/money.ts';
import type { AccountType, Balance, Batch, CalendarDate, Observation } from '../../connectors/connector.ts';

export type TransactionStatus = Observation['status'];
export type DateSource = 'booking' | 'transaction' | 'value';

/** One row as it is stored. A deleted row keeps the status that it had when it went. */
export type StoredTransaction = {
  readonly id: number;
  readonly status: TransactionStatus;
  readonly amount: Money;
  /** The date shown: the first stated of booking, transaction and value date. */
  readonly date: CalendarDate;
  readonly dateSource: DateSource;
  readonly bookingDate: CalendarDate | null;
  readonly valueDate: CalendarDate | null;
  readonly transactionDate: CalendarDate | null;
  readonly rawText: string;
  readonly counterpartyName: string | null;
  readonly counterpartyIban: string | null;
  readonly endToEndId: string | null;
  /** The bank's latest id of the row; it belongs to this row only. */
  readonly providerId: string | null;
  /** Earlier ids of the row, oldest first. */
  readonly aliases: readonly string[];
  readonly balanceAfter: Money | null;
  /** How many times a complete list did not hold this booked row; 0 once it is seen again. */
  readonly missing: number;
  /** When `missing` last grew. */
  readonly missingAt: number | null;
  /** Null while the row is live. */
  readonly deletedAt: number | null;
};

/** How often an account's bank ids agreed with the content of its rows; both counts decay. */
export type Trust = { readonly agreements: number; readonly disagreements: number };

/** Booked rows whose mass deletion waits for confirmation. */
export type Breaker = {
  readonly rows: readonly BreakerRow[];
  /** The operator let the deletions pass: the next refresh applies what it finds, and with it, or with the last of the rows, this ends. */
  readonly released: boolean;
};
/** `at`: first proposed; `fullAt`: first proposed by a full refresh. */
export type BreakerRow = { readonly id: number; readonly at: number; readonly fullAt: number | null };

export type DetectionInput = {
  /** The account's live rows, and those deleted less than 90 days ago, in any order. */
  readonly stored: readonly StoredTransaction[];
  /** Applied in order; each stored row is counted once, against what it was before the first. */
  readonly batches: readonly Batch[];
  readonly trust: Trust;
  /** The balance announced so far (for a new account: the one of `item.account.created`); null while unknown. */
  readonly balance: { readonly current: Balance | null };
  readonly accountType: AccountType;
  readonly breaker: Breaker | null;
  /** Whether the whole available history was asked for. */
  readonly fullRefresh: boolean;
  /** Where an incremental refresh begins now, as the one before had said; null for everything. A full one asks for more. */
  readonly windowFrom: CalendarDate | null;
  readonly now: number;
};

/**
 * The rule that paired a stored with a fetched row. In the order they are tried: `correction` the source says so;
 * S1 `link`; S2 `id`; S3 `content`; S4 `date_moved`; S5 `label_drifted`; S6 `amount_at_booking`;
 * `returned` a deleted row is back; S7 `relabelled`.
 */
export type Stage =
  | 'correction'
  | 'link'
  | 'id'
  | 'content'
  | 'date_moved'
  | 'label_drifted'
  | 'amount_at_booking'
  | 'returned'
  | 'relabelled';

/** `days` the fetched date minus the stored one; `similarity` of the labels, 0..1, where it was the question. */
export type Evidence = { readonly stage: Stage; readonly days: number; readonly similarity: number | null };

export type DeletionReason =
  /** A pending or scheduled row that its complete list no longer holds. */
  | 'pending_gone'
  /** A booked row that two lists, hours apart, did not hold. */
  | 'missing_confirmed'
  /** The balance moved by exactly the removal of the missing rows. */
  | 'balance_agrees'
  /** The source vouches that absence is final (a later, proven statement). */
  | 'absence_final'
  /** The bank shows another amount under the stable id of a booked row: the row is deleted, a new one takes the id. */
  | 'amount_changed'
  /** The source says explicitly that the row is void. */
  | 'correction'
  /** A mass deletion that a second refresh, or the operator, confirmed. */
  | 'mass_deletion_confirmed'
  /** The hold booked, and the application wants a new row for it. */
  | 'recreated';

/** Why a fetched row became a new one, although rows are stored. */
export type CreationCause =
  /** No row is left that it could be. */
  | 'nothing_alike'
  /** It stands under the stable id of a booked row with another amount, which is deleted. */
  | 'amount_changed'
  /** A row has its id, but its amount, currency, date, status or label says that it is another payment. */
  | 'id_contradicted'
  /** More than one hold could have booked as it, or it as more than one: none is guessed. */
  | 'ambiguous'
  /** A hold booked, and the application wants a new row for it. */
  | 'recreated';

export type HoldReason = 'first_absence' | 'absence_too_soon' | 'mass_deletion';

export type Created = {
  /** `row.id` is a negative placeholder, unique in this outcome: the caller assigns ids in the order of the list. */
  readonly row: StoredTransaction;
  readonly observation: Observation;
  readonly cause: CreationCause;
};
export type Updated = {
  /** Deleted, where the row came back. */
  readonly before: StoredTransaction;
  readonly after: StoredTransaction;
  readonly observation: Observation;
  readonly evidence: Evidence;
};
export type Deleted = { readonly before: StoredTransaction; readonly row: StoredTransaction; readonly reason: DeletionReason };
export type Held = { readonly row: StoredTransaction; readonly reason: HoldReason };

export type Anomaly =
  /** The bank relabelled its rows at large; they were paired by amount and date. */
  | { readonly kind: 'relabelling'; readonly rows: number }
  /** Too many booked rows at once are gone: nothing was deleted. */
  | { readonly kind: 'mass_deletion'; readonly proposed: number; readonly covered: number }
  /** Too many rows alike to compare their labels; none of them was guessed. */
  | { readonly kind: 'crowded'; readonly stored: number; readonly fetched: number };

export type Outcome = {
  readonly created: readonly Created[];
  /** Changed and returned rows, by id. */
  readonly updated: readonly Updated[];
  readonly deleted: readonly Deleted[];
  /** Missing rows that stay, with their new `missing` and `missingAt`; not counted. */
  readonly held: readonly Held[];
  /** Rows of which only uncounted fields changed; no new `updated_at`. */
  readonly touched: readonly StoredTransaction[];
  readonly counts: { readonly new: number; readonly updated: number; readonly deleted: number };
  readonly balance: Balance | null;
  readonly balanceChanged: boolean;
  /** Whether the balance moved by the sum of the changes; true where no movement can be computed. */
  readonly explained: boolean;
  /** The balance moved, the list is complete, and no transaction tells why: account status 1009. */
  readonly incomplete1009: boolean;
  readonly trust: Trust;
  readonly breaker: Breaker | null;
  readonly anomalies: readonly Anomaly[];
  /** The next refresh must be full. */
  readonly fullRefreshWanted: boolean;
  /** Where the next incremental refresh begins, before the connector's history limit; null: fetch everything. */
  readonly nextWindowFrom: CalendarDate | null;
  /** Equal ids that were refused because the rows contradict each other. */
  readonly idConflicts: number;
};
