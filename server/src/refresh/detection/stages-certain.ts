/** The stages that rest on what the bank says or on equal content: corrections, S1, S2, S3. */
import { equal } from '../../base/money.ts';
import { type Group, groupByContent } from './content-groups.ts';
import { amountKey, byContent, type Fetched, type Matching, pair, type Stored, similarity, textOf } from './entries.ts';
import { collapse } from './normalise.ts';
import { vouchesFor } from './window.ts';

/** Stored rows by bank id: current ids, and earlier ones. */
export type IdIndex = { readonly current: ReadonlyMap<string, Stored>; readonly aliases: ReadonlyMap<string, Stored> };

export function indexIds({ live, dead }: Matching): IdIndex {
  const current = new Map<string, Stored>();
  const aliases = new Map<string, Stored>();
  for (const entries of [live, dead]) {
    for (const entry of entries) {
      if (entry.id !== null && !current.has(entry.id)) current.set(entry.id, entry);
      for (const alias of entry.row.aliases) if (!aliases.has(alias)) aliases.set(alias, entry);
    }
  }
  return { current, aliases };
}

/** The source says that a row replaces, or voids, an earlier one (OFX CORRECTACTION on CORRECTFITID). */
export function applyCorrections(matching: Matching, ids: IdIndex): void {
  const corrections = matching.fetched.filter((entry) => entry.observation.correction !== undefined);
  if (corrections.length === 0) return;
  const byProviderId = new Map(matching.fetched.map((entry) => [entry.observation.providerId, entry]));
  for (const correction of corrections.sort(byContent)) {
    const { action, providerId } = correction.observation.correction!;
    // The row and its correction may stand in one list: the corrected row is not a row any more.
    const superseded = byProviderId.get(providerId);
    if (superseded !== undefined && superseded !== correction) superseded.taken = true;
    const target = ids.current.get(providerId) ?? ids.aliases.get(providerId);
    if (action === 'delete') {
      correction.taken = true;
      if (target !== undefined && target.row.deletedAt === null && !target.taken) {
        target.taken = true;
        matching.voided.add(target);
      }
    } else if (target !== undefined && target.row.deletedAt === null && !target.taken && !correction.taken) {
      pair(matching, target, correction, 'correction');
    }
  }
}

/** How long a deleted pending row may still turn out to have booked: dropped on Friday, booked on Monday. */
export const PENDING_RETURN_MS = 10 * 86_400_000;

export function mayStillBook({ row }: Stored, now: number): boolean {
  return row.status !== 'booked' && (row.deletedAt === null || now - row.deletedAt < PENDING_RETURN_MS);
}

/** S1: the bank names the pending row that this one replaces. */
export function matchLinks(matching: Matching, ids: IdIndex): void {
  const linked = matching.fetched.filter((entry) => !entry.taken && entry.observation.linkPendingId !== undefined);
  for (const entry of linked.sort(byContent)) {
    const link = entry.observation.linkPendingId!;
    const target = ids.current.get(link) ?? ids.aliases.get(link);
    if (target === undefined || target.taken || !mayStillBook(target, matching.now)) continue;
    if (target.row.amount.currency === entry.observation.amount.currency) pair(matching, target, entry, 'link');
  }
}

/** An id that returns further away in time names another payment (counters that start again). */
const SAME_ID_DAYS_MAX = 10;
/** Where ids are not known to be stable, an equal one only supports a likeness. */
const UNPROVEN_ID_DAYS_MAX = 3;
const UNPROVEN_ID_SIMILARITY_MIN = 0.5;

/**
 * A booked row of this day that no list vouches for may well still be there: what stands further away under its id is then
 * more likely another payment (counters and mandates are reused) than the same one moved.
 */
const UNSEEN_DAYS_MAX = 3;

/** S2: the same id, unless amount, currency, date or status contradict it. Current ids first, then earlier ones. */
export function matchIds(matching: Matching, ids: IdIndex): void {
  if (matching.trust === 'unstable') return;
  const nameless = namelessRows(matching);
  for (const index of [ids.current, ids.aliases]) {
    // A current id names one fetched row; several may carry earlier ids of one stored row, so their order must be fixed.
    const claims = index === ids.current ? matching.fetched : claimsOfAliases(matching, index);
    for (const entry of claims) {
      if (entry.taken || entry.id === null) continue;
      const target = index.get(entry.id);
      if (target === undefined || target.taken || target.row.deletedAt !== null) continue;
      if (idHolds(matching, target, entry) && !standsNameless(nameless, target, entry)) {
        pair(matching, target, entry, 'id');
        continue;
      }
      matching.idConflicts += 1;
      const replaces = index === ids.current && amountChangedUnderStableId(matching, target, entry);
      if (replaces) matching.replaced.set(target, entry);
      if (replaces || !matching.doubts.has(entry)) matching.doubts.set(entry, replaces ? 'amount_changed' : 'id_contradicted');
    }
  }
}

/** Looks for a booked row whose own id says nothing in this response, by its content; asked rarely, so made at the first question. */
function namelessRows({ live, fetched }: Matching): (content: string) => boolean {
  let contents: Set<string> | null = null;
  return (content) => {
    if (contents === null) {
      const shown = new Set(fetched.map(({ id }) => id));
      const nameless = live.filter(({ taken, status, id }) => !taken && status === 'booked' && (id === null || !shown.has(id)));
      contents = new Set(nameless.map(contentOf));
    }
    return contents.has(content);
  };
}

/** The fetched row differs from the one that has its id, and is exactly a booked one that no id speaks for: it is that one. */
function standsNameless(nameless: (content: string) => boolean, stored: Stored, fetched: Fetched): boolean {
  if (fetched.status !== 'booked') return false;
  const sameLabel = stored.rawText === fetched.rawText || textOf(stored) === textOf(fetched);
  return !(stored.status === 'booked' && stored.day === fetched.day && sameLabel) && nameless(contentOf(fetched));
}

function contentOf(entry: Stored | Fetched): string {
  return `${entry.day} ${amountKey(entry)} ${textOf(entry)}`;
}

function claimsOfAliases({ fetched }: Matching, aliases: ReadonlyMap<string, Stored>): Fetched[] {
  if (aliases.size === 0) return [];
  return fetched.filter((entry) => !entry.taken && entry.id !== null && aliases.has(entry.id)).sort(byContent);
}

function idHolds(matching: Matching, stored: Stored, fetched: Fetched): boolean {
  const before = stored.row.amount;
  const now = fetched.observation.amount;
  const days = Math.abs(fetched.day - stored.day);
  if (before.currency !== now.currency || days > SAME_ID_DAYS_MAX) return false;
  if (stored.status === 'booked' && fetched.status !== 'booked') return false;
  const sameSign = Math.sign(before.minor) === Math.sign(now.minor);
  if (!equal(before, now) && (stored.status === 'booked' || !sameSign)) return false;
  if (matching.trust === 'stable') {
    return stored.status !== 'booked' || days <= UNSEEN_DAYS_MAX || vouchesFor(matching.window, 'booked', stored.day);
  }
  if (stored.status === 'booked' && days > UNPROVEN_ID_DAYS_MAX) return false;
  return stored.rawText === fetched.rawText || similarity(matching, stored, fetched) >= UNPROVEN_ID_SIMILARITY_MIN;
}

/** Only where the list would show the stored row if it were still there: ids that start again return with other amounts. */
function amountChangedUnderStableId({ trust, window }: Matching, stored: Stored, fetched: Fetched): boolean {
  if (!vouchesFor(window, 'booked', stored.day)) return false;
  if (trust !== 'stable' || stored.status !== 'booked' || fetched.status !== 'booked') return false;
  const { amount } = fetched.observation;
  const near = Math.abs(fetched.day - stored.day) <= SAME_ID_DAYS_MAX;
  return near && amount.currency === stored.row.amount.currency && !equal(amount, stored.row.amount);
}

/** S3: equal content, as a multiset. */
export function matchContent(matching: Matching): void {
  const live = matching.live.filter((entry) => !entry.taken);
  const fetched = live.length === 0 ? [] : matching.fetched.filter((entry) => !entry.taken);
  if (fetched.length === 0) return;
  for (const found of groupByContent(live, fetched)) pairGroup(matching, found);
}

/**
 * Pairs the rows of one content key: those equal in all compared fields first, then those with the same running
 * balance, then those with the same label, then in order. (Rows with the same believed id are gone: S2 took them.)
 */
function pairGroup(matching: Matching, { stored, fetched }: Group): void {
  if (fetched.length === 0) return;
  if (stored.length === 1 && fetched.length === 1) {
    pair(matching, stored[0]!, fetched[0]!, 'content');
    return;
  }
  let before: readonly Stored[] = stored;
  let now: readonly Fetched[] = fetched;
  now = now.toSorted(byContent);
  for (const [ofStored, ofFetched] of PREFERENCES) {
    const waiting = new Map<string, Stored[]>();
    for (const entry of before.toReversed()) {
      const key = ofStored(entry);
      if (key === null) continue;
      const queue = waiting.get(key);
      if (queue === undefined) waiting.set(key, [entry]);
      else queue.push(entry);
    }
    for (const entry of now) {
      const key = ofFetched(entry);
      const found = key === null ? undefined : waiting.get(key)?.pop();
      if (found !== undefined) pair(matching, found, entry, 'content');
    }
    before = before.filter((entry) => !entry.taken);
    now = now.filter((entry) => !entry.taken);
    if (before.length === 0 || now.length === 0) return;
  }
}

const storedFields = ({ row }: Stored) => `${row.bookingDate} ${row.transactionDate} ${row.valueDate} ${collapse(row.rawText)}`;
const fetchedFields = ({ observation, rawText }: Fetched) =>
  `${observation.bookingDate ?? null} ${observation.transactionDate ?? null} ${observation.valueDate ?? null} ${collapse(rawText)}`;
const storedBalance = ({ row }: Stored) => (row.balanceAfter === null ? null : `${row.balanceAfter.minor} ${row.balanceAfter.exponent}`);
const fetchedBalance = ({ observation: { balanceAfter } }: Fetched) =>
  balanceAfter === undefined ? null : `${balanceAfter.minor} ${balanceAfter.exponent}`;

const PREFERENCES: readonly [(entry: Stored) => string | null, (entry: Fetched) => string | null][] = [
  [(entry) => `${storedFields(entry)} ${storedBalance(entry)}`, (entry) => `${fetchedFields(entry)} ${fetchedBalance(entry)}`],
  [storedFields, fetchedFields],
  [storedBalance, fetchedBalance],
  [(entry) => collapse(entry.rawText), (entry) => collapse(entry.rawText)],
  [() => '', () => ''],
];
