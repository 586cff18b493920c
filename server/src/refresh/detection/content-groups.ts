/** Live and fetched rows by equal content: status, amount, currency, date and label. The hot path of an unchanged refresh. */
import { amountOf, type Fetched, type Stored } from './entries.ts';

export type Group = { readonly stored: Stored[]; readonly fetched: Fetched[]; readonly next: Group | null; readonly position: number };

/** Beyond this many contents under one hash (one amount on one day), full keys find the group. */
const CHAIN_MAX = 8;

/** Only contents that are stored make a group: a fetched row of any other content pairs with none. */
export function groupByContent(
  live: readonly Stored[],
  fetched: readonly Fetched[],
  label: (entry: Stored | Fetched) => string,
): readonly Group[] {
  const groups: Group[] = [];
  // Whole numbers are several times cheaper as keys than texts joined for the purpose.
  const heads = new Map<number, Group>();
  const crowd = new Map<string, Group>();
  const find = (head: Group | null, entry: Stored | Fetched): Group | null => {
    for (let group = head; group !== null; group = group.next) if (alike(group.stored[0]!, entry, label)) return group;
    return head !== null && head.position === CHAIN_MAX ? (crowd.get(fullKey(entry, label)) ?? null) : null;
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
    if (position > CHAIN_MAX) crowd.set(fullKey(entry, label), group);
    else heads.set(hash, group);
  }
  for (const entry of fetched) {
    find(heads.get(hashOf(entry)) ?? null, entry)?.fetched.push(entry);
  }
  return groups;
}

function hashOf(entry: Stored | Fetched): number {
  return (Math.imul(amountOf(entry).minor | 0, 0x9e3779b1) ^ Math.imul(entry.day, 0x85ebca6b)) >> 2;
}

function alike(a: Stored, b: Stored | Fetched, label: (entry: Stored | Fetched) => string): boolean {
  const left = a.row.amount;
  const right = amountOf(b);
  return (
    left.minor === right.minor &&
    a.day === b.day &&
    a.status === b.status &&
    left.exponent === right.exponent &&
    left.currency === right.currency &&
    label(a) === label(b)
  );
}

function fullKey(entry: Stored | Fetched, label: (entry: Stored | Fetched) => string): string {
  const { minor, exponent, currency } = amountOf(entry);
  return `${minor} ${exponent} ${entry.day} ${currency} ${entry.status} ${label(entry)}`;
}
