/**
 * Stored and fetched rows by equal content: status, amount, currency, date and label as it stands. Whole columns of numbers
 * instead of a record for each row, because this is what every refresh pays for every row, changed or not.
 */
import type { Observation } from '../../connectors/connector.ts';
import { dayNumber } from './normalise.ts';
import type { StoredTransaction } from './types.ts';

/** Positions in the two lists; a content is named by the first stored row that has it. */
export type ContentIndex = {
  /** How many stored rows, and how many fetched ones, have the content of this stored row; 0 where it is not the first. */
  readonly storedCount: Int32Array;
  readonly fetchedCount: Int32Array;
  /** A fetched row with the content of this first stored row; it is the only one where `fetchedCount` is 1. */
  readonly fetchedOf: Int32Array;
};

export function statedDate({ bookingDate, transactionDate, valueDate }: Observation): string | undefined {
  return bookingDate ?? transactionDate ?? valueDate;
}

/** Beyond this many contents under one hash, full keys find the content: labels made to collide cost no more than others. */
const CHAIN_MAX = 8;

export function indexContents(stored: readonly StoredTransaction[], fetched: readonly Observation[]): ContentIndex {
  const storedCount = new Int32Array(stored.length);
  const fetchedCount = new Int32Array(stored.length);
  const fetchedOf = new Int32Array(stored.length);
  const table = openTable(stored);
  for (let at = 0; at < stored.length; at += 1) {
    const { status, amount, date, rawText } = stored[at]!;
    const first = table.find(status, amount, date, rawText, at);
    storedCount[first]! += 1;
  }
  for (let at = 0; at < fetched.length; at += 1) {
    const observation = fetched[at]!;
    const date = statedDate(observation);
    if (date === undefined) continue;
    const first = table.find(observation.status, observation.amount, date, observation.rawText, NONE);
    if (first === NONE) continue;
    fetchedCount[first]! += 1;
    fetchedOf[first] = at;
  }
  return { storedCount, fetchedCount, fetchedOf };
}

const NONE = -1;

type Table = {
  /** The first stored row of this content. If there is none, `position` becomes it, unless that is `NONE`. */
  find: (status: string, amount: StoredTransaction['amount'], date: string, label: string, position: number) => number;
};

/** A hash table of positions, chained through `next`. Positions are kept plus one, so that 0 is empty. */
function openTable(stored: readonly StoredTransaction[]): Table {
  let capacity = 16;
  while (capacity < 2 * stored.length) capacity *= 2;
  const heads = new Int32Array(capacity);
  const next = new Int32Array(stored.length);
  const hashes = new Int32Array(stored.length);
  const crowd = new Map<string, number>();
  return {
    find: (status, amount, date, label, position) => {
      const hash = contentHash(status, amount.minor, dayNumber(date), label);
      const slot = hash & (capacity - 1);
      let alike = 0;
      for (let link = heads[slot]!; link !== 0; link = next[link - 1]!) {
        if (hashes[link - 1] !== hash) continue;
        const row = stored[link - 1]!;
        if (
          row.rawText === label &&
          row.date === date &&
          row.amount.minor === amount.minor &&
          row.amount.exponent === amount.exponent &&
          row.amount.currency === amount.currency &&
          row.status === status
        )
          return link - 1;
        alike += 1;
      }
      if (alike >= CHAIN_MAX) {
        const key = `${status} ${amount.minor} ${amount.exponent} ${amount.currency} ${date} ${label}`;
        const found = crowd.get(key);
        if (found !== undefined) return found;
        if (position !== NONE) crowd.set(key, position);
        return position;
      }
      if (position !== NONE) {
        hashes[position] = hash;
        next[position] = heads[slot]!;
        heads[slot] = position + 1;
      }
      return position;
    },
  };
}

/** Labels of one shop differ at their end: these many last characters count, and the first ones. */
const HASHED_LAST = 24;
const HASHED_FIRST = 8;

export function contentHash(status: string, minor: number, day: number, label: string): number {
  let hash = Math.imul(minor | 0, 0x9e3779b1) ^ Math.imul(day + status.length, 0x85ebca6b) ^ label.length;
  const tail = Math.max(0, label.length - HASHED_LAST);
  for (let at = 0; at < tail && at < HASHED_FIRST; at += 1) hash = Math.imul(hash, 31) + label.charCodeAt(at);
  for (let at = tail; at < label.length; at += 1) hash = Math.imul(hash, 31) + label.charCodeAt(at);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}
