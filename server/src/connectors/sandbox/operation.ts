/**
 * The life of one row at the bank: announced, pending, booked, relabelled, moved, taken back. A row is written once,
 * whole; what the bank shows of it is a function of the moment.
 */
import { money } from '../../base/money.ts';
import type { Observation } from '../connector.ts';
import { type Day, dateOf, dayOf, type Moment } from './calendar.ts';
import { nameFor } from './draws.ts';

export type Operation = {
  /** Unique within the account. */
  key: string;
  /** The day on which the customer paid, or on which the bank acts. */
  day: Day;
  label: string;
  amountMinor: number;
  categoryId: number;
  counterpartyName?: string;
  showClientSide?: boolean;
  /** Shown as a future row from here on. */
  scheduledFrom?: Moment;
  /** Shown as pending from here on, perhaps with another amount or label. */
  pending?: { from: Moment; amountMinor: number; label: string };
  /** Null for a payment that the bank drops before it is ever booked. */
  bookedFrom: Moment | null;
  /** From here on the bank writes another label, or another value date. */
  amended?: { from: Moment; label?: string; valueDay?: Day };
  /** From here on the bank shows the row no more. */
  removedFrom?: Moment;
};

/** What the bank does with its ids when a pending row is booked. */
export type IdStyle = 'kept' | 'changed' | 'linked';

type Phase = 'unseen' | 'scheduled' | 'pending' | 'booked';

export function phaseAt(operation: Operation, moment: Moment): Phase {
  if (operation.removedFrom !== undefined && moment >= operation.removedFrom) return 'unseen';
  if (operation.bookedFrom !== null && moment >= operation.bookedFrom) return 'booked';
  if (operation.pending && moment >= operation.pending.from) return 'pending';
  if (operation.scheduledFrom !== undefined && moment >= operation.scheduledFrom) return 'scheduled';
  return 'unseen';
}

/** The share of an operation in the balance: booked rows alone count. */
export function bookedMinor(operation: Operation, moment: Moment): number {
  return phaseAt(operation, moment) === 'booked' ? operation.amountMinor : 0;
}

/** The row as the bank shows it at a moment, or null. `namespace` makes its ids unique among accounts and items. */
export function observe(
  operation: Operation,
  moment: Moment,
  account: { namespace: string; currency: string; idStyle: IdStyle },
): Observation | null {
  const phase = phaseAt(operation, moment);
  if (phase === 'unseen') return null;
  const firstId = firstIdOf(operation, account.namespace);
  const pending = phase === 'pending' ? operation.pending : undefined;
  const amended = operation.amended && moment >= operation.amended.from ? operation.amended : undefined;
  const row: Observation = {
    status: phase,
    amount: money(pending?.amountMinor ?? operation.amountMinor, 2, account.currency),
    transactionDate: dateOf(operation.day),
    rawText: pending?.label ?? amended?.label ?? operation.label,
    providerId: firstId,
    categoryId: operation.categoryId,
    ...(operation.counterpartyName === undefined ? {} : { counterpartyName: operation.counterpartyName }),
    ...(operation.showClientSide === undefined ? {} : { showClientSide: operation.showClientSide }),
  };
  if (phase !== 'booked' || operation.bookedFrom === null) return row;
  const bookedDay = dayOf(operation.bookedFrom);
  const booked: Observation = { ...row, bookingDate: dateOf(bookedDay), valueDate: dateOf(amended?.valueDay ?? bookedDay) };
  if (!operation.pending || account.idStyle === 'kept') return booked;
  const renamed: Observation = { ...booked, providerId: nameFor(16, account.namespace, operation.key, 'booked') };
  return account.idStyle === 'linked' ? { ...renamed, linkPendingId: firstId } : renamed;
}

/** Rows are shown again at each refresh: kept with the operation, which belongs to one account, while that is kept. */
const firstIds = new WeakMap<Operation, string>();

function firstIdOf(operation: Operation, namespace: string): string {
  const known = firstIds.get(operation);
  if (known !== undefined) return known;
  const id = nameFor(16, namespace, operation.key);
  firstIds.set(operation, id);
  return id;
}
