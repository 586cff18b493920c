/** Three simple ways that are in wide use, given the same answers as ours: what rows does each hold? */
import type { Batch, Observation } from '../src/connectors/connector.ts';
import { statedDate } from '../src/refresh/detection/content-index.ts';
import { dayNumber } from '../src/refresh/detection/normalise.ts';

/** A row as a customer sees it. */
export type VisibleRow = { readonly status: Observation['status']; readonly day: number; readonly minor: number; readonly label: string };

export type Algorithm = {
  readonly name: string;
  readonly take: (batch: Batch) => void;
  readonly visible: () => Iterable<VisibleRow>;
};

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
