/**
 * What the bank truly had at each answer that told the truth, and what a customer must therefore see: exactly that, except
 * that a booked row which the bank took back may stay until a second true answer, six hours later or more.
 */
import type { Algorithm, VisibleRow } from './algorithms.ts';
import { type Answer, dayOf } from './bank.ts';
import type { Face } from './payments.ts';
import type { Ours } from './pontage.ts';

export type Compared = {
  readonly missing: readonly string[];
  readonly extra: readonly string[];
  readonly late: number;
  readonly keptByBreaker: number;
};
export type Truth = { readonly compare: (answer: Answer, hour: number, ours: Ours) => Compared };

type Counts = Map<string, { day: number; count: number }>;
/** `from` and `to`: the days that a true answer vouched for; null where the answer may have shown a part of `counts` only. */
type Snapshot = { readonly hour: number; readonly vouched: { readonly from: number; readonly to: number } | null; readonly counts: Counts };

const SECOND_LOOK_HOURS = 6;
/** Enough to reach back to the weekly full refresh, and the one before. */
const SNAPSHOTS_KEPT = 80;
const NOTHING: Compared = { missing: [], extra: [], late: 0, keptByBreaker: 0 };

export function openTruth(): Truth {
  const snapshots: Snapshot[] = [];
  return {
    compare: ({ truth, vouched, pendingVouched }, hour, ours) => {
      const matters = ({ status, day }: VisibleRow) =>
        vouched !== null && (status === 'booked' ? vouched.from <= day && day <= vouched.to : pendingVouched);
      const snapshot: Snapshot = { hour, vouched, counts: countsOf(truth.map(visibleFace)) };
      snapshots.push(snapshot);
      if (snapshots.length > SNAPSHOTS_KEPT) snapshots.shift();
      if (vouched === null) return NOTHING;
      const visible = countsOf([...ours.visible()].filter(matters));
      const missing: string[] = [];
      const extra: string[] = [];
      let late = 0;
      let keptByBreaker = 0;
      for (const [key, { count }] of countsOf(truth.map(visibleFace).filter(matters))) {
        for (let short = count - (visible.get(key)?.count ?? 0); short > 0; short -= 1) missing.push(key);
      }
      for (const [key, { day, count }] of visible) {
        const booked = key.startsWith('booked');
        const now = snapshot.counts.get(key)?.count ?? 0;
        if (count <= now) continue;
        const most = booked ? mostLately(snapshots, key, day, hour, 1) : now;
        if (count <= most) continue;
        const kept = Math.min(count - most, countsOf(ours.heldByBreaker()).get(key)?.count ?? 0);
        keptByBreaker += kept;
        const more = count - most - kept;
        const excused = booked ? Math.min(more, Math.max(0, mostLately(snapshots, key, day, hour, 2) - most)) : 0;
        late += excused;
        for (let left = more - excused; left > 0; left -= 1) extra.push(key);
      }
      return { missing, extra, late, keptByBreaker };
    },
  };
}

/** The most that the bank showed of a row since the true look at its day that is so many second looks ago; any number before the first. */
function mostLately(snapshots: readonly Snapshot[], key: string, day: number, hour: number, looks: number): number {
  let most = 0;
  let before = hour;
  let left = looks;
  for (const { hour: at, vouched, counts } of snapshots.toReversed()) {
    most = Math.max(most, counts.get(key)?.count ?? 0);
    if (vouched === null || day < vouched.from || day > vouched.to || at > before - SECOND_LOOK_HOURS) continue;
    left -= 1;
    before = at;
    if (left === 0) return most;
  }
  return Number.POSITIVE_INFINITY;
}

/** Booked rows that were deleted although the bank has more of their kind than are visible now. */
export function wronglyDeleted(ours: Ours, truth: readonly Face[]): string[] {
  const deleted = ours.lastDeleted().filter(({ status }) => status === 'booked');
  if (deleted.length === 0) return [];
  const has = countsOf(truth.map(visibleFace));
  const visible = countsOf(ours.visible());
  return deleted.map(keyOf).filter((key) => (has.get(key)?.count ?? 0) > (visible.get(key)?.count ?? 0));
}

/** Against all that the bank has, or what it has booked since a day. */
export function difference(
  algorithm: Pick<Algorithm, 'visible'>,
  truth: readonly Face[],
  since = Number.NEGATIVE_INFINITY,
): { missing: number; extra: number } {
  const matters = ({ status, day }: VisibleRow) => status !== 'booked' || day >= since;
  const has = countsOf(truth.map(visibleFace).filter(matters));
  const visible = countsOf([...algorithm.visible()].filter(matters));
  let missing = 0;
  let extra = 0;
  for (const key of new Set([...has.keys(), ...visible.keys()])) {
    const more = (visible.get(key)?.count ?? 0) - (has.get(key)?.count ?? 0);
    missing += Math.max(0, -more);
    extra += Math.max(0, more);
  }
  return { missing, extra };
}

/** Of rows that must be there, those that are not, whatever their labels where the bank has relabelled them. */
export function lacking(ours: Ours, due: readonly Face[], relabelled: boolean): string[] {
  const shown = (row: VisibleRow) => (relabelled ? { ...row, label: '' } : row);
  const visible = countsOf([...ours.visible()].map(shown));
  return [...countsOf(due.map((face) => shown(visibleFace(face))))].flatMap(([key, { count }]) =>
    Array<string>(Math.max(0, count - (visible.get(key)?.count ?? 0))).fill(key),
  );
}

/** Faces are looked at after every answer: each is turned into a row, and a row into its key, once. */
const rowOfFace = new WeakMap<Face, VisibleRow>();
const keyOfRow = new WeakMap<VisibleRow, string>();

function visibleFace(face: Face): VisibleRow {
  let row = rowOfFace.get(face);
  if (row === undefined) {
    row = { status: face.status, day: dayOf(face), minor: face.minor, label: face.label };
    rowOfFace.set(face, row);
  }
  return row;
}

function countsOf(rows: Iterable<VisibleRow>): Counts {
  const counts: Counts = new Map();
  for (const row of rows) {
    const key = keyOf(row);
    const found = counts.get(key);
    if (found === undefined) counts.set(key, { day: row.day, count: 1 });
    else found.count += 1;
  }
  return counts;
}

function keyOf(row: VisibleRow): string {
  let key = keyOfRow.get(row);
  if (key === undefined) {
    const { status, day, minor, label } = row;
    key = `${status} ${day} ${minor} ${label}`;
    keyOfRow.set(row, key);
  }
  return key;
}
