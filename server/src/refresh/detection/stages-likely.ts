/** The stages for rows that changed a little between two looks: S4 moved dates, S5 drifted labels. */
import { type Bucket, bucketed, type Cell, compatible, exhausted, leftovers } from './cells.ts';
import { amountKey, type Fetched, type Matching, pair, type Stored, similarity, textOf } from './entries.ts';
import type { Stage } from './types.ts';

type Candidate = { readonly stored: Cell<Stored>; readonly fetched: Cell<Fetched>; readonly days: number; readonly similarity: number };

const BOOKED_DAYS_MAX = 3;
/** The widest date rule: a hold books up to ten days later. */
const DAYS_MAX = 10;

/** S4: the same amount and label on another day; the smallest move first. */
export function matchMovedDates(matching: Matching): void {
  const { stored, fetched } = leftovers(matching);
  if (fetched.length === 0) return;
  const buckets = bucketed(
    stored,
    fetched,
    (entry) => `${amountKey(entry)} ${textOf(entry)}`,
    () => '',
  );
  for (const bucket of buckets) {
    const candidates: Candidate[] = [];
    for (const [before, now] of nearby(bucket)) {
      if (compatible(matching, before, now, BOOKED_DAYS_MAX))
        candidates.push({ stored: before, fetched: now, days: now.day - before.day, similarity: 1 });
    }
    pairCandidates(matching, candidates, 'date_moved');
  }
}

const LABEL_SIMILARITY_MIN = 0.5;
const DRIFTED_BOOKED_DAYS_MAX = 1;
/** Label comparisons within one amount; beyond it the rows are too much alike to be told apart by their labels. */
const COMPARISONS_MAX = 4096;

/** S5: the same amount about the same day, under a label that drifted. */
export function matchDriftedLabels(matching: Matching): void {
  const { stored, fetched } = leftovers(matching);
  if (fetched.length === 0) return;
  const evidence = (entry: Stored | Fetched) => {
    const { counterpartyIban, endToEndId } = 'row' in entry ? entry.row : entry.observation;
    return `${counterpartyIban ?? ''} ${endToEndId ?? ''} ${textOf(entry)}`;
  };
  for (const bucket of bucketed(stored, fetched, amountKey, evidence)) {
    const near = nearCells(matching, bucket);
    if (near === null) {
      matching.anomalies.push({ kind: 'crowded', stored: bucket.stored.length, fetched: bucket.fetched.length });
      continue;
    }
    const candidates = near
      .map((candidate) => ({ ...candidate, similarity: similarity(matching, candidate.stored.entries[0]!, candidate.fetched.entries[0]!) }))
      .filter((candidate) => candidate.similarity >= LABEL_SIMILARITY_MIN);
    pairCandidates(matching, candidates, 'label_drifted');
  }
}

/** The pairs of cells within reach of each other, or null when they are more than {@link COMPARISONS_MAX}. */
function nearCells(matching: Matching, bucket: Bucket): Candidate[] | null {
  const near: Candidate[] = [];
  for (const [before, now] of nearby(bucket)) {
    if (!compatible(matching, before, now, DRIFTED_BOOKED_DAYS_MAX)) continue;
    if (near.length === COMPARISONS_MAX) return null;
    near.push({ stored: before, fetched: now, days: now.day - before.day, similarity: 0 });
  }
  return near;
}

/** The pairs of a stored and a fetched cell that are at most {@link DAYS_MAX} apart. */
function* nearby({ stored, fetched }: Bucket): Generator<readonly [Cell<Stored>, Cell<Fetched>]> {
  const alone = stored.length === 1 ? stored[0]! : null;
  const byDay = alone === null ? cellsByDay(stored) : null;
  for (const now of fetched) {
    if (alone !== null) {
      if (Math.abs(now.day - alone.day) <= DAYS_MAX) yield [alone, now];
      continue;
    }
    for (let days = -DAYS_MAX; days <= DAYS_MAX; days += 1) {
      for (const before of byDay!.get(now.day - days) ?? []) yield [before, now];
    }
  }
}

function cellsByDay(cells: readonly Cell<Stored>[]): ReadonlyMap<number, Cell<Stored>[]> {
  const byDay = new Map<number, Cell<Stored>[]>();
  for (const cell of cells) {
    const found = byDay.get(cell.day);
    if (found === undefined) byDay.set(cell.day, [cell]);
    else found.push(cell);
  }
  return byDay;
}

/** Uses the best candidates first: the likest, then the nearest, then the fixed order of the cells. */
function pairCandidates(matching: Matching, candidates: Candidate[], stage: Stage): void {
  candidates.sort(
    (a, b) =>
      b.similarity - a.similarity ||
      Math.abs(a.days) - Math.abs(b.days) ||
      b.days - a.days ||
      a.stored.order - b.stored.order ||
      a.fetched.order - b.fetched.order,
  );
  for (const { stored, fetched, similarity } of candidates) {
    while (!exhausted(stored) && !exhausted(fetched)) {
      pair(matching, stored.entries[stored.used]!, fetched.entries[fetched.used]!, stage, similarity);
      stored.used += 1;
      fetched.used += 1;
    }
  }
}
