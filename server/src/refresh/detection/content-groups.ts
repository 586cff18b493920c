/** Working rows by equal content: status, amount, currency, date and normalised label. */
import { contentHash } from './content-index.ts';
import { amountOf, type Fetched, type Stored, textOf } from './entries.ts';

export type Group = { readonly stored: Stored[]; readonly fetched: Fetched[]; readonly next: Group | null; readonly position: number };

/** Beyond this many contents under one hash, full keys find the group. */
const CHAIN_MAX = 8;

/** Only contents that are stored make a group: a fetched row of any other content pairs with none. */
export function groupByContent(live: readonly Stored[], fetched: readonly Fetched[]): readonly Group[] {
  const groups: Group[] = [];
  // Whole numbers are several times cheaper as keys than texts joined for the purpose.
  const heads = new Map<number, Group>();
  const crowd = new Map<string, Group>();
  const find = (head: Group | null, entry: Stored | Fetched): Group | null => {
    for (let group = head; group !== null; group = group.next) if (alike(group.stored[0]!, entry)) return group;
    return head !== null && head.position === CHAIN_MAX ? (crowd.get(fullKey(entry)) ?? null) : null;
  };
  for (const entry of live) {
    const hash = hashOf(entry);
    const head = heads.get(hash) ?? null;
    const found = find(head, entry);
    if (found !== null) {
      found.stored.push(entry);
      continue;
    }
    const position = head === null ? 1 : head.position + 1;
    const group: Group = { stored: [entry], fetched: [], next: head, position };
    groups.push(group);
    if (position > CHAIN_MAX) crowd.set(fullKey(entry), group);
    else heads.set(hash, group);
  }
  for (const entry of fetched) {
    find(heads.get(hashOf(entry)) ?? null, entry)?.fetched.push(entry);
  }
  return groups;
}

/** A whole number that needs no box as the key of a map. */
function hashOf(entry: Stored | Fetched): number {
  return contentHash(entry.status, amountOf(entry).minor, entry.day, textOf(entry)) >> 2;
}

function alike(a: Stored, b: Stored | Fetched): boolean {
  const left = a.row.amount;
  const right = amountOf(b);
  return (
    left.minor === right.minor &&
    a.day === b.day &&
    a.status === b.status &&
    left.exponent === right.exponent &&
    left.currency === right.currency &&
    textOf(a) === textOf(b)
  );
}

function fullKey(entry: Stored | Fetched): string {
  const { minor, exponent, currency } = amountOf(entry);
  return `${minor} ${exponent} ${entry.day} ${currency} ${entry.status} ${textOf(entry)}`;
}
