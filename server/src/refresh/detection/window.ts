/** What a list vouches for: where the absence of a stored row says something. */
import type { Batch, Coverage } from '../../connectors/connector.ts';
import { statedDate } from './content-index.ts';
import { dayNumber } from './normalise.ts';
import type { TransactionStatus } from './types.ts';

export type Window = {
  readonly coverage: Coverage;
  readonly ranges: readonly { readonly from: number; readonly to: number }[];
  /** The oldest day asked for; pending lists have no later end, they may hold future dates. */
  readonly earliest: number;
  /** The last day that may be partial because the list was cut by count; -Infinity where it was not. */
  readonly partialUntil: number;
};

export function windowOf({ coverage, observations }: Batch): Window {
  const ranges = coverage.windows.map(({ from, to }) => ({ from: dayNumber(from), to: dayNumber(to) }));
  let oldest = Number.POSITIVE_INFINITY;
  if (coverage.edgeExclusive) {
    for (const observation of observations) {
      const date = statedDate(observation);
      if (date !== undefined && observation.status === 'booked') oldest = Math.min(oldest, dayNumber(date));
    }
  }
  const earliest = coverage.historyComplete ? Number.NEGATIVE_INFINITY : Math.min(...ranges.map((range) => range.from));
  // A list cut before its first booked row vouches for no day at all.
  const partialUntil = coverage.edgeExclusive ? oldest : Number.NEGATIVE_INFINITY;
  return { coverage, ranges, earliest: ranges.length === 0 ? Number.NEGATIVE_INFINITY : earliest, partialUntil };
}

/**
 * Stored rows of so many days before the window are compared too: they may be the ones that moved into it. No rule pairs rows
 * that are more than ten days apart; the rest lets an id be seen to stand for two payments.
 */
export const DAYS_BEFORE_WINDOW = 14;

/** Whether a row of this status and day must be in the list if it still exists. */
export function vouchesFor(window: Window, status: TransactionStatus, day: number): boolean {
  switch (status) {
    case 'booked':
      return window.coverage.bookedComplete && day > window.partialUntil && window.ranges.some(({ from, to }) => from <= day && day <= to);
    case 'pending':
      return window.coverage.pendingComplete && day >= window.earliest;
    case 'scheduled':
      return window.coverage.scheduledComplete && day >= window.earliest;
    default:
      return status satisfies never;
  }
}
