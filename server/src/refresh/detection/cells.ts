/**
 * Rows that a stage cannot tell apart, kept together: pairing works on cells, so that ten thousand identical rows cost
 * no more than one. Cells and the rows in them are in a fixed order, whatever the order of the input.
 */
import { byContent, type Fetched, type Matching, movable, type Stored } from './entries.ts';
import type { TransactionStatus } from './types.ts';
import { vouchesFor } from './window.ts';

export type Cell<Entry> = {
  readonly order: number;
  readonly status: TransactionStatus;
  readonly day: number;
  readonly named: boolean;
  readonly entries: Entry[];
  /** How many of `entries` are used up, from the first. */
  used: number;
};
export type Bucket = { readonly stored: Cell<Stored>[]; readonly fetched: Cell<Fetched>[] };

/** Rows not used yet: stored ones by suspicion, fetched ones by content. */
export function leftovers(matching: Matching): { readonly stored: Stored[]; readonly fetched: Fetched[] } {
  const stored = matching.live.filter((entry) => !entry.taken);
  if (stored.length === 0) return { stored, fetched: [] };
  return { stored, fetched: matching.fetched.filter((entry) => !entry.taken).sort(byContent) };
}

/** Groups rows by `bucketOf`, and within it by status, day, whether it states an id, and `kindOf`. Buckets with one side only are left out. */
export function bucketed(
  stored: readonly Stored[],
  fetched: readonly Fetched[],
  bucketOf: (entry: Stored | Fetched) => string,
  kindOf: (entry: Stored | Fetched) => string,
): Bucket[] {
  const keys = fetched.map(bucketOf);
  // Made for what both sides have: where little is alike nearly all would be for nothing.
  const buckets = new Map<string, { readonly stored: Stored[]; readonly fetched: Fetched[] } | null>();
  for (const key of keys) buckets.set(key, null);
  for (const entry of stored) {
    const key = bucketOf(entry);
    const bucket = buckets.get(key);
    if (bucket === null) buckets.set(key, { stored: [entry], fetched: [] });
    else bucket?.stored.push(entry);
  }
  for (const [at, entry] of fetched.entries()) buckets.get(keys[at]!)?.fetched.push(entry);
  const found: Bucket[] = [];
  for (const bucket of buckets.values()) {
    if (bucket !== null) found.push({ stored: cellsOf(bucket.stored, kindOf), fetched: cellsOf(bucket.fetched, kindOf) });
  }
  return found;
}

function cellsOf<Entry extends Stored | Fetched>(entries: readonly Entry[], kindOf: (entry: Entry) => string): Cell<Entry>[] {
  const cells = new Map<string, Cell<Entry>>();
  for (const entry of entries) {
    const { status, day, named } = entry;
    const key = entries.length === 1 ? '' : `${status} ${day} ${named} ${kindOf(entry)}`;
    const cell = cells.get(key);
    if (cell !== undefined) cell.entries.push(entry);
    else cells.set(key, { order: cells.size, status, day, named, entries: [entry], used: 0 });
  }
  return [...cells.values()];
}

export function exhausted(cell: Cell<unknown>): boolean {
  return cell.used === cell.entries.length;
}

/** Whether S4 or S5 may pair rows of these cells, `bookedDaysMax` apart where both are booked. */
export function compatible(matching: Matching, stored: Cell<Stored>, fetched: Cell<Fetched>, bookedDaysMax: number): boolean {
  const range = movable(stored.status, fetched.status);
  const days = fetched.day - stored.day;
  if (range === null || days < range.from || days > range.to) return false;
  if (stored.status !== fetched.status) return true;
  if (stored.status === 'booked' && Math.abs(days) > bookedDaysMax) return false;
  // Two rows of one status are two payments, unless the list that should hold both vouches for what it holds.
  if (!vouchesFor(matching.window, stored.status, stored.day)) return false;
  if (fetched.status === 'booked' && fetched.day <= matching.window.partialUntil) return false;
  // Under ids that are believed, rows that state different ones are different; S2 took those that state the same.
  return !(matching.trust === 'stable' && stored.named && fetched.named);
}
