/** The working rows of one batch: stored and fetched, each used at most once, and how a pair becomes the new stored row. */
import { equal } from '../../base/money.ts';
import type { Batch, CalendarDate, Observation } from '../../connectors/connector.ts';
import { statedDate } from './content-index.ts';
import { isUsable, type TrustLevel } from './identifiers.ts';
import { collapse, dayNumber, norm, sim, tokens } from './normalise.ts';
import type { Anomaly, CreationCause, DateSource, Evidence, StoredTransaction, TransactionStatus } from './types.ts';
import type { Split } from './unchanged.ts';
import { type Window, windowOf } from './window.ts';

export type Stored = {
  readonly row: StoredTransaction;
  readonly status: TransactionStatus;
  readonly day: number;
  readonly rawText: string;
  /** The row's id, unless it is positional. */
  readonly id: string | null;
  readonly named: boolean;
  text: string | null;
  taken: boolean;
};

export type Fetched = {
  readonly observation: Observation;
  readonly status: TransactionStatus;
  readonly date: CalendarDate;
  readonly dateSource: DateSource;
  readonly day: number;
  readonly rawText: string;
  /** The bank's id of the row, where it can be used at all; whether it is believed is for the trust to say. */
  readonly id: string | null;
  /** The bank states an id that can name a payment, though it may stand at another row too. */
  readonly named: boolean;
  /** All that the bank states, in one text; made when two rows must be ordered. */
  content: string | null;
  text: string | null;
  taken: boolean;
};

export type Pair = { readonly stored: Stored; readonly fetched: Fetched; readonly evidence: Evidence };

export type Matching = {
  /** Live rows that are not settled: least suspected first, then oldest. */
  readonly live: readonly Stored[];
  /** Rows deleted less than 90 days ago, in the same order. */
  readonly dead: readonly Stored[];
  readonly fetched: readonly Fetched[];
  /** Live rows that were found unchanged before: in none of the lists above, counted where shares are. */
  readonly settled: readonly StoredTransaction[];
  readonly window: Window;
  readonly trust: TrustLevel;
  readonly now: number;
  readonly pairs: Pair[];
  /** Booked rows under whose stable id the bank now shows another amount. */
  readonly replaced: Map<Stored, Fetched>;
  /** Rows that the source says are void. */
  readonly voided: Set<Stored>;
  readonly anomalies: Anomaly[];
  /** Fetched rows whose id was refused, or that could be more than one row: why they are new, if they are. */
  readonly doubts: Map<Fetched, CreationCause>;
  idConflicts: number;
  readonly wordsOf: (normalised: string) => ReadonlySet<string>;
};

/** Rows in any order; observations without any date are left out, the connector owes one. */
export function openMatching({ live, dead, fetched, repeated, settled, trust }: Split, batch: Batch, now: number): Matching {
  return {
    live: sortedBySuspicion(live.map(storedEntry)),
    dead: sortedBySuspicion(dead.map(storedEntry)),
    fetched: fetched.flatMap((observation) => fetchedEntry(observation, repeated) ?? []),
    settled,
    window: windowOf(batch),
    trust,
    now,
    pairs: [],
    replaced: new Map(),
    voided: new Set(),
    anomalies: [],
    doubts: new Map(),
    idConflicts: 0,
    wordsOf: memo(tokens),
  };
}

function storedEntry(row: StoredTransaction): Stored {
  const { providerId, status, date, rawText } = row;
  const id = providerId !== null && isUsable(providerId) ? providerId : null;
  return { row, status, day: dayNumber(date), rawText, id, named: id !== null, text: null, taken: false };
}

export function fetchedEntry(observation: Observation, repeated: ReadonlySet<string>): Fetched | null {
  const { bookingDate, transactionDate, providerId, status, rawText } = observation;
  const date = statedDate(observation);
  if (date === undefined) return null;
  const dateSource = bookingDate !== undefined ? 'booking' : transactionDate !== undefined ? 'transaction' : 'value';
  const named = providerId !== undefined && isUsable(providerId);
  const id = named && !repeated.has(providerId) ? providerId : null;
  return { observation, status, date, dateSource, day: dayNumber(date), rawText, id, named, content: null, text: null, taken: false };
}

/** A pair that was settled without working rows, where it may have changed. */
export function settledPair({ row, observation, byId }: Split['touched'][number], repeated: ReadonlySet<string>): Pair {
  const evidence: Evidence = { stage: byId ? 'id' : 'content', days: 0, similarity: null };
  return { stored: storedEntry(row), fetched: fetchedEntry(observation, repeated)!, evidence };
}

function memo<Key, Value>(compute: (key: Key) => Value): (key: Key) => Value {
  const known = new Map<Key, Value>();
  return (key) => {
    const value = known.get(key);
    if (value !== undefined) return value;
    const computed = compute(key);
    known.set(key, computed);
    return computed;
  };
}

/** Rows created by an earlier batch carry negative placeholders and are the youngest. */
function bySuspicion(a: Stored, b: Stored): number {
  return a.row.missing - b.row.missing || Number(a.row.id < 0) - Number(b.row.id < 0) || Math.abs(a.row.id) - Math.abs(b.row.id);
}

function sortedBySuspicion(entries: Stored[]): Stored[] {
  for (let index = 1; index < entries.length; index += 1) {
    if (bySuspicion(entries[index - 1]!, entries[index]!) > 0) return entries.sort(bySuspicion);
  }
  return entries;
}

export function pair(
  matching: Matching,
  stored: Stored,
  fetched: Fetched,
  stage: Evidence['stage'],
  similarity: number | null = null,
): void {
  stored.taken = true;
  fetched.taken = true;
  matching.pairs.push({ stored, fetched, evidence: { stage, days: fetched.day - stored.day, similarity } });
}

export function textOf(entry: Stored | Fetched): string {
  entry.text ??= norm(entry.rawText);
  return entry.text;
}

export function amountOf(entry: Stored | Fetched): StoredTransaction['amount'] {
  return 'row' in entry ? entry.row.amount : entry.observation.amount;
}

export function amountKey(entry: Stored | Fetched): string {
  const { minor, exponent, currency } = amountOf(entry);
  return `${minor} ${exponent} ${currency}`;
}

/** Likeness of the labels; the same counterparty IBAN or end-to-end reference is as good as the same label. */
export function similarity(matching: Matching, stored: Stored, fetched: Fetched): number {
  const { counterpartyIban, endToEndId } = fetched.observation;
  if (counterpartyIban !== undefined && counterpartyIban === stored.row.counterpartyIban) return 1;
  if (endToEndId !== undefined && endToEndId === stored.row.endToEndId) return 1;
  return sim(textOf(stored), textOf(fetched), matching.wordsOf);
}

/** One order for fetched rows, from their content alone: rows that compare equal are interchangeable. */
export function byContent(a: Fetched, b: Fetched): number {
  if (a.day !== b.day) return a.day - b.day;
  const amounts = a.observation.amount.minor - b.observation.amount.minor;
  if (amounts !== 0) return amounts;
  if (a.rawText !== b.rawText) return a.rawText < b.rawText ? -1 : 1;
  if (a.id !== b.id) return (a.id ?? '') < (b.id ?? '') ? -1 : 1;
  const left = contentOf(a);
  const right = contentOf(b);
  return left === right ? 0 : left < right ? -1 : 1;
}

function contentOf(entry: Fetched): string {
  if (entry.content === null) {
    const stated = Object.entries(entry.observation).filter(([, value]) => value !== undefined);
    entry.content = JSON.stringify(stated.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  return entry.content;
}

/** The date rule of S4 and S6: how far a row may move between two looks, in days; null where it may not turn so. */
export function movable(stored: TransactionStatus, fetched: TransactionStatus): { readonly from: number; readonly to: number } | null {
  if (stored === 'booked') return fetched === 'booked' ? { from: -3, to: 3 } : null;
  // A hold that is shown under today's date until it books, or a transfer announced for a day, moves forward.
  if (fetched === 'booked' || (stored === 'scheduled' && fetched === 'pending')) return { from: -1, to: 10 };
  return { from: -3, to: 3 };
}

/** Earlier ids kept per row: enough for a hold, its booking and some migrations; more means that ids mean nothing. */
const ALIASES_MAX = 8;

/**
 * The stored row after it was seen as `fetched`. What the bank no longer states (a value date, a counterparty) is kept:
 * silence is no change. While ids are unstable the stored one is left alone, so that churn costs no writes.
 */
export function merged(matching: Matching, { row }: Stored, { observation, date, dateSource, id }: Fetched): StoredTransaction {
  const newId = id !== null && matching.trust !== 'unstable' && id !== row.providerId ? id : null;
  const former = newId !== null && row.providerId !== null ? [row.providerId] : [];
  const after: StoredTransaction = {
    id: row.id,
    status: observation.status,
    amount: observation.amount,
    date,
    dateSource,
    bookingDate: observation.bookingDate ?? row.bookingDate,
    valueDate: observation.valueDate ?? row.valueDate,
    transactionDate: observation.transactionDate ?? row.transactionDate,
    rawText: observation.rawText,
    counterpartyName: observation.counterpartyName ?? row.counterpartyName,
    counterpartyIban: observation.counterpartyIban ?? row.counterpartyIban,
    endToEndId: observation.endToEndId ?? row.endToEndId,
    providerId: newId ?? row.providerId,
    aliases: newId === null ? row.aliases : [...row.aliases.filter((alias) => alias !== newId), ...former].slice(-ALIASES_MAX),
    balanceAfter: observation.balanceAfter ?? row.balanceAfter,
    missing: 0,
    missingAt: null,
    deletedAt: null,
  };
  return sameRow(row, after) ? row : after;
}

const NO_ALIASES: readonly string[] = [];

export function created({ observation, date, dateSource, id }: Fetched, placeholder: number): StoredTransaction {
  return {
    id: placeholder,
    status: observation.status,
    amount: observation.amount,
    date,
    dateSource,
    bookingDate: observation.bookingDate ?? null,
    valueDate: observation.valueDate ?? null,
    transactionDate: observation.transactionDate ?? null,
    rawText: observation.rawText,
    counterpartyName: observation.counterpartyName ?? null,
    counterpartyIban: observation.counterpartyIban ?? null,
    endToEndId: observation.endToEndId ?? null,
    providerId: id,
    aliases: NO_ALIASES,
    balanceAfter: observation.balanceAfter ?? null,
    missing: 0,
    missingAt: null,
    deletedAt: null,
  };
}

/** Whether a client sees a difference: what makes a row count as updated. */
export function countedFieldsDiffer(a: StoredTransaction, b: StoredTransaction): boolean {
  return (
    a.status !== b.status ||
    a.date !== b.date ||
    a.bookingDate !== b.bookingDate ||
    a.valueDate !== b.valueDate ||
    a.transactionDate !== b.transactionDate ||
    !equal(a.amount, b.amount) ||
    (a.rawText !== b.rawText && collapse(a.rawText) !== collapse(b.rawText))
  );
}

function sameRow(a: StoredTransaction, b: StoredTransaction): boolean {
  return (
    a.deletedAt === b.deletedAt &&
    a.rawText === b.rawText &&
    a.dateSource === b.dateSource &&
    a.counterpartyName === b.counterpartyName &&
    a.counterpartyIban === b.counterpartyIban &&
    a.endToEndId === b.endToEndId &&
    a.providerId === b.providerId &&
    a.missing === b.missing &&
    a.missingAt === b.missingAt &&
    (a.balanceAfter === null ? b.balanceAfter === null : b.balanceAfter !== null && equal(a.balanceAfter, b.balanceAfter)) &&
    !countedFieldsDiffer(a, b)
  );
}
