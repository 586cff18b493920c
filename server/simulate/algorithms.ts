/** Ours, and three simple ways that are in wide use, behind one seam: given the same answers, what rows does each hold? */
import type { Batch, Observation } from '../src/connectors/connector.ts';
import { statedDate } from '../src/refresh/detection/content-index.ts';
import { detect } from '../src/refresh/detection/detect.ts';
import { NO_TRUST } from '../src/refresh/detection/identifiers.ts';
import { calendarDate, dayNumber } from '../src/refresh/detection/normalise.ts';
import { reasonsOf } from '../src/refresh/detection/reasons.ts';
import type { DetectionInput, Outcome, StoredTransaction } from '../src/refresh/detection/types.ts';
import { DAYS_BEFORE_WINDOW } from '../src/refresh/detection/window.ts';

/** A row as a customer sees it. */
export type VisibleRow = { readonly status: Observation['status']; readonly day: number; readonly minor: number; readonly label: string };

export type Algorithm = {
  readonly name: string;
  /** The day from which the bank is to be asked next; null for the whole history. */
  readonly from: () => number | null;
  readonly take: (batch: Batch, now: number, full: boolean) => void;
  readonly visible: () => Iterable<VisibleRow>;
};

const DAY_MS = 86_400_000;
const TOMBSTONES_MS = 90 * DAY_MS;

export type Ours = Algorithm & {
  /** Whether the counts of all answers add up to the rows that are visible now, and each counted row has its reason. */
  readonly countsHold: () => boolean;
  readonly lastDeleted: () => readonly VisibleRow[];
  /** Rows that stay because too many would be deleted at once. */
  readonly heldByBreaker: () => readonly VisibleRow[];
  readonly wantsFullRefresh: () => boolean;
};

export function ours(): Ours {
  const rows = new Map<number, StoredTransaction>();
  let memory: Pick<DetectionInput, 'trust' | 'balance' | 'breaker'> = { trust: NO_TRUST, balance: { current: null }, breaker: null };
  let last: { outcome: Outcome; countsHold: boolean } | null = null;
  let lastId = 0;
  let live = 0;
  return {
    name: 'Pontage',
    from: () => {
      const from = last?.outcome.nextWindowFrom ?? null;
      return from === null ? null : dayNumber(from);
    },
    take: (batch, now, full) => {
      const stored = compared(rows.values(), full ? null : batch.coverage.windows[0]!.from, now);
      const windowFrom = full ? null : (last?.outcome.nextWindowFrom ?? null);
      const outcome = detect({ stored, batches: [batch], accountType: 'checking', fullRefresh: full, windowFrom, now, ...memory });
      memory = { trust: outcome.trust, balance: { current: outcome.balance }, breaker: outcome.breaker };
      for (const { after } of outcome.updated) rows.set(after.id, after);
      for (const { row } of [...outcome.deleted, ...outcome.held]) rows.set(row.id, row);
      for (const row of outcome.touched) rows.set(row.id, row);
      for (const { row } of outcome.created) {
        lastId += 1;
        rows.set(lastId, { ...row, id: lastId });
      }
      const returned = outcome.updated.filter(({ before }) => before.deletedAt !== null).length;
      const { counts } = outcome;
      live += counts.new + returned - counts.deleted;
      let visible = 0;
      for (const { deletedAt } of rows.values()) visible += Number(deletedAt === null);
      const reasons = [...reasonsOf(outcome)].filter(({ change }) => change !== 'held').length;
      last = { outcome, countsHold: live === visible && reasons === counts.new + counts.updated + counts.deleted };
    },
    *visible() {
      for (const row of rows.values()) if (row.deletedAt === null) yield visibleRow(row);
    },
    countsHold: () => last?.countsHold ?? true,
    lastDeleted: () => last?.outcome.deleted.map(({ before }) => visibleRow(before)) ?? [],
    heldByBreaker: () => (memory.breaker?.rows ?? []).flatMap(({ id }) => (rows.has(id) ? [visibleRow(rows.get(id)!)] : [])),
    wantsFullRefresh: () => last?.outcome.fullRefreshWanted ?? false,
  };
}

function compared(rows: Iterable<StoredTransaction>, from: string | null, now: number): StoredTransaction[] {
  const since = from === null ? '' : calendarDate(dayNumber(from) - DAYS_BEFORE_WINDOW);
  return [...rows].filter(
    ({ date, status, missing, deletedAt }) =>
      (date >= since || status !== 'booked' || missing > 0) && (deletedAt === null || deletedAt > now - TOMBSTONES_MS),
  );
}

function visibleRow({ status, date, amount, rawText }: StoredTransaction): VisibleRow {
  return { status, day: dayNumber(date), minor: amount.minor, label: rawText };
}

function shownRow(observation: Observation): VisibleRow {
  return {
    status: observation.status,
    day: dayNumber(statedDate(observation)!),
    minor: observation.amount.minor,
    label: observation.rawText,
  };
}

/** One row per id of the bank; pending rows are whatever the last answer had. Without an id, the content is the id. */
export function upsertById(): Algorithm {
  const content = ({ day, minor, label }: VisibleRow) => `${day} ${minor} ${label}`;
  return keyed('upsert by the bank’s id', (row, id) => id ?? content(row));
}

/** One row per date, amount and label. */
export function contentHash(): Algorithm {
  return keyed('content hash', ({ day, minor, label }) => `${day} ${minor} ${label}`);
}

function keyed(name: string, keyOf: (row: VisibleRow, id: string | undefined) => string): Algorithm {
  const booked = new Map<string, VisibleRow>();
  let others: readonly VisibleRow[] = [];
  return {
    name,
    from: () => null,
    take: ({ observations, coverage }) => {
      const rows = observations.map((observation) => ({ row: shownRow(observation), id: observation.providerId }));
      for (const { row, id } of rows) if (row.status === 'booked') booked.set(keyOf(row, id), row);
      if (coverage.pendingComplete) others = rows.flatMap(({ row }) => (row.status === 'booked' ? [] : [row]));
    },
    visible: () => [...booked.values(), ...others],
  };
}

const NEAR_DAYS = 7;

/** A row is the stored one of the same amount within seven days, the nearest first; what it is not stays. */
export function sameAmountNear(): Algorithm {
  let rows: VisibleRow[] = [];
  return {
    name: 'same amount within 7 days',
    from: () => null,
    take: ({ observations, coverage }) => {
      const byAmount = new Map<number, number[]>();
      rows.forEach(({ minor }, at) => {
        const places = byAmount.get(minor);
        if (places === undefined) byAmount.set(minor, [at]);
        else places.push(at);
      });
      const used = new Set<number>();
      for (const row of observations.map(shownRow)) {
        const near = (byAmount.get(row.minor) ?? []).filter((at) => !used.has(at) && Math.abs(rows[at]!.day - row.day) <= NEAR_DAYS);
        near.sort((a, b) => Math.abs(rows[a]!.day - row.day) - Math.abs(rows[b]!.day - row.day));
        const place = near[0] ?? rows.length;
        rows[place] = row;
        used.add(place);
      }
      if (coverage.pendingComplete) rows = rows.filter(({ status }, at) => status === 'booked' || used.has(at));
    },
    visible: () => rows,
  };
}
