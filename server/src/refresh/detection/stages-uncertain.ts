/** The stages that must be unambiguous or are for the account at large: S6, deleted rows that return, S7. */
import { type Money, toNumber } from '../../base/money.ts';
import { leftovers } from './cells.ts';
import { amountKey, amountOf, byContent, type Fetched, type Matching, movable, pair, type Stored, similarity, textOf } from './entries.ts';
import { dayNumber } from './normalise.ts';
import { mayStillBook } from './stages-certain.ts';
import type { Stage, StoredTransaction } from './types.ts';
import { vouchesFor } from './window.ts';

/** How much a tip, a fuel hold or an exchange rate moves the amount at booking. */
const AMOUNT_SHARE_MAX = 0.3;
const AMOUNT_LABEL_SIMILARITY_MIN = 0.6;
/** Pairs looked at before the stage is given up: so many candidates cannot be unique. */
const COMPARISONS_MAX = 50_000;

/** S6: a pending row that booked with another amount, where nothing else could be meant on either side. */
export function matchAmountsAtBooking(matching: Matching): void {
  const { stored, fetched } = leftovers(matching);
  const pending = stored.filter((entry) => entry.status !== 'booked');
  matchUnique(matching, pending, fetched, 'amount_at_booking');
}

/** S4 and S6 again for pending rows deleted lately: dropped on Friday, booked on Monday. */
export function matchDeletedPending(matching: Matching): void {
  const gone = matching.dead.filter((entry) => !entry.taken && mayStillBook(entry, matching.now));
  if (gone.length === 0) return;
  const waiting = () => matching.fetched.filter((entry) => !entry.taken).sort(byContent);
  matchUnique(matching, gone, waiting(), 'date_moved');
  const stillGone = gone.filter((entry) => !entry.taken);
  matchUnique(matching, stillGone, waiting(), 'amount_at_booking');
}

function matchUnique(matching: Matching, pending: readonly Stored[], fetched: readonly Fetched[], stage: Stage): void {
  const booked = fetched.filter((entry) => entry.status === 'booked');
  if (pending.length === 0 || booked.length === 0) return;
  const share = stage === 'date_moved' ? 0 : AMOUNT_SHARE_MAX;
  const sides = new Map<string, { readonly entry: Fetched; readonly size: number }[]>();
  for (const entry of booked) {
    const side = sideOf(amountOf(entry));
    const found = sides.get(side);
    const sized = { entry, size: Math.abs(toNumber(amountOf(entry))) };
    if (found === undefined) sides.set(side, [sized]);
    else found.push(sized);
  }
  for (const side of sides.values()) side.sort((a, b) => a.size - b.size);
  const candidates: { readonly stored: Stored; readonly fetched: Fetched; readonly likeness: number }[] = [];
  const degree = new Map<Stored | Fetched, number>();
  let comparisons = 0;
  for (const entry of pending) {
    const side = sides.get(sideOf(entry.row.amount)) ?? [];
    const size = Math.abs(toNumber(entry.row.amount));
    for (let at = firstAtLeast(side, size * (1 - share)); at < side.length && side[at]!.size <= size * (1 + share); at += 1) {
      comparisons += 1;
      if (comparisons > COMPARISONS_MAX) {
        matching.anomalies.push({ kind: 'crowded', stored: pending.length, fetched: booked.length });
        return;
      }
      const found = side[at]!.entry;
      const likeness = likenessAtBooking(matching, entry, found, stage);
      if (likeness === null) continue;
      candidates.push({ stored: entry, fetched: found, likeness });
      degree.set(entry, (degree.get(entry) ?? 0) + 1);
      degree.set(found, (degree.get(found) ?? 0) + 1);
    }
  }
  for (const { stored, fetched: found, likeness } of candidates) {
    if (degree.get(stored) === 1 && degree.get(found) === 1) pair(matching, stored, found, stage, likeness);
    else matching.doubts.set(found, 'ambiguous');
  }
}

function sideOf({ currency, minor }: Money): string {
  return `${currency} ${Math.sign(minor)}`;
}

function firstAtLeast(side: readonly { readonly size: number }[], size: number): number {
  let low = 0;
  let high = side.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (side[middle]!.size < size) low = middle + 1;
    else high = middle;
  }
  return low;
}

function likenessAtBooking(matching: Matching, stored: Stored, fetched: Fetched, stage: Stage): number | null {
  const range = movable(stored.status, 'booked');
  const days = fetched.day - stored.day;
  if (range === null || days < range.from || days > range.to) return null;
  if (stage === 'date_moved') return textOf(stored) === textOf(fetched) ? 1 : null;
  const likeness = similarity(matching, stored, fetched);
  return likeness >= AMOUNT_LABEL_SIMILARITY_MIN ? likeness : null;
}

const RETURN_DAYS_MAX = 3;

/** A deleted row that the bank shows again: the same content on the same date, or near it under the same id. */
export function matchReturned(matching: Matching): void {
  if (matching.dead.length === 0) return;
  const waiting = matching.fetched.filter((entry) => !entry.taken).sort(byContent);
  if (waiting.length === 0) return;
  const dead = matching.dead.filter((entry) => !entry.taken);
  const latestFirst = dead.sort((a, b) => b.row.deletedAt! - a.row.deletedAt! || Math.abs(a.row.id) - Math.abs(b.row.id));
  const content = (entry: Stored | Fetched) => `${entry.status} ${amountKey(entry)} ${textOf(entry)}`;
  const byId = new Map<string, Stored>();
  const byDay = new Map<string, Stored[]>();
  for (const entry of latestFirst) {
    if (entry.id !== null && !byId.has(entry.id)) byId.set(entry.id, entry);
    const key = `${entry.day} ${content(entry)}`;
    const queue = byDay.get(key);
    if (queue === undefined) byDay.set(key, [entry]);
    else queue.push(entry);
  }
  for (const queue of byDay.values()) queue.reverse();
  for (const entry of waiting) {
    const named = entry.id !== null && matching.trust !== 'unstable' ? byId.get(entry.id) : undefined;
    if (named === undefined || named.taken || content(named) !== content(entry)) continue;
    if (Math.abs(entry.day - named.day) <= RETURN_DAYS_MAX) pair(matching, named, entry, 'returned');
  }
  for (const entry of waiting) {
    if (entry.taken) continue;
    const queue = byDay.get(`${entry.day} ${content(entry)}`) ?? [];
    let found = queue.pop();
    while (found?.taken) found = queue.pop();
    if (found !== undefined) pair(matching, found, entry, 'returned');
  }
}

/** A change of this many rows, or of this share, is the bank's doing and not the account holder's. */
export const LARGE_ROWS = 5;
export const LARGE_SHARE = 0.2;

/** The booked rows that the list vouches for, found or not. */
export function coveredRows({ live, settled, window }: Matching): number {
  const inside = (rows: readonly StoredTransaction[]) =>
    rows.reduce((count, row) => count + Number(row.status === 'booked' && vouchesFor(window, 'booked', dayNumber(row.date))), 0);
  return inside(settled) + inside(live.map(({ row }) => row));
}

/** S7: the bank renamed its rows at large; amount and date alone pair them, where the numbers of rows agree. */
export function matchRelabelled(matching: Matching): void {
  const { window, live } = matching;
  if (!window.coverage.bookedComplete) return;
  const stored = live.filter((entry) => !entry.taken && entry.status === 'booked' && vouchesFor(window, 'booked', entry.day));
  if (stored.length <= LARGE_ROWS || stored.length <= LARGE_SHARE * coveredRows(matching)) return;
  const booked = matching.fetched.filter((entry) => entry.status === 'booked');
  const fetched = booked.filter((entry) => !entry.taken).sort(byContent);
  const settled = matching.settled.reduce((count, { status }) => count + Number(status === 'booked'), 0);
  if (fetched.length <= Math.max(LARGE_ROWS, LARGE_SHARE * (booked.length + settled))) return;
  const groups = new Map<string, { readonly stored: Stored[]; readonly fetched: Fetched[] }>();
  const groupOf = (entry: Stored | Fetched) => {
    const key = `${entry.day} ${amountKey(entry)}`;
    let found = groups.get(key);
    if (found === undefined) {
      found = { stored: [], fetched: [] };
      groups.set(key, found);
    }
    return found;
  };
  for (const entry of stored) groupOf(entry).stored.push(entry);
  for (const entry of fetched) groupOf(entry).fetched.push(entry);
  let rows = 0;
  for (const group of groups.values()) {
    if (group.stored.length !== group.fetched.length) continue;
    group.stored.forEach((entry, at) => {
      pair(matching, entry, group.fetched[at]!, 'relabelled');
    });
    rows += group.stored.length;
  }
  if (rows > 0) matching.anomalies.push({ kind: 'relabelling', rows });
}
