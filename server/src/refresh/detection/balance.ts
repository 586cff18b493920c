/** Which balance counts, and whether the rows explain how it moved. Sums are exact, in units of 10^-5. */
import { equal, MAX_EXPONENT, type Money } from '../../base/money.ts';
import type { Balance } from '../../connectors/connector.ts';
import type { StoredTransaction } from './types.ts';

/** A later or undated balance replaces the known one; an earlier one (a back-filled statement) does not. */
export function chooseBalance(current: Balance | null, offered: Balance | null): Balance | null {
  if (offered === null || current === null) return offered ?? current;
  return offered.at !== null && current.at !== null && offered.at < current.at ? current : offered;
}

/** A balance of another kind is another figure, not a change; one that becomes known is. */
export function balanceChanged(before: Balance | null, after: Balance | null): boolean {
  if (after === null) return false;
  if (before === null) return true;
  return before.kind === after.kind && !equal(before.amount, after.amount);
}

/** By how much the balance moved; null where the two cannot be compared. */
export function movement(before: Balance | null, after: Balance | null): bigint | null {
  if (before === null || after === null || before.kind !== after.kind) return null;
  if (before.amount.currency !== after.amount.currency) return null;
  return exact(after.amount) - exact(before.amount);
}

function exact({ minor, exponent }: Money): bigint {
  return BigInt(minor) * 10n ** BigInt(MAX_EXPONENT - exponent);
}

/** Banks count pending rows into some kinds of balance and not into others. */
export const VIEWS = ['booked', 'booked_and_pending'] as const;
export type View = (typeof VIEWS)[number];

/** What a row adds to a balance of this currency. */
export function contribution(row: StoredTransaction | null, currency: string, view: View): bigint {
  if (row === null || row.deletedAt !== null || row.amount.currency !== currency) return 0n;
  const counts = row.status === 'booked' || (view === 'booked_and_pending' && row.status === 'pending');
  return counts ? exact(row.amount) : 0n;
}

export type Transition = { readonly before: StoredTransaction | null; readonly after: StoredTransaction };

export function moved(transitions: Iterable<Transition>, currency: string, view: View): bigint {
  let total = 0n;
  for (const { before, after } of transitions) total += contribution(after, currency, view) - contribution(before, currency, view);
  return total;
}

export function isExplained(before: Balance | null, after: Balance | null, transitions: readonly Transition[]): boolean {
  const by = movement(before, after);
  if (by === null || after === null) return true;
  return VIEWS.some((view) => moved(transitions, after.amount.currency, view) === by);
}
