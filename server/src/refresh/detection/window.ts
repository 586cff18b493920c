/** What a list vouches for: where the absence of a stored row says something. */
import { DAY_MS } from '../../base/clock.ts';
import type { Batch, CalendarDate, Coverage } from '../../connectors/connector.ts';
import { statedDate } from './content-index.ts';
import { calendarDate, dayNumber, dayOfInstant } from './normalise.ts';
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

/** A floor that nobody vouches past is held for so long; else a bank whose lists are never complete would be asked for ever more. */
export const FLOOR_HELD_DAYS = 90;

/**
 * Where the next incremental refresh begins: at `wanted`, unless these lists leave out days since `before`, where this one was
 * to begin. An answer that was broken off, or cut by its number of rows, moves no floor past what it does not hold: those days
 * would never be asked for again. Where a complete list begins later than asked, the bank has no more.
 */
export function nextFloor(
  before: CalendarDate | null,
  wanted: CalendarDate | null,
  batches: readonly Batch[],
  now: number,
): CalendarDate | null {
  if (before === null || wanted === null || wanted <= before) return wanted;
  if (holdsAllSince(before, batches)) return wanted;
  return calendarDate(Math.min(dayNumber(wanted), Math.max(dayNumber(before), dayOfInstant(now) - FLOOR_HELD_DAYS)));
}

/** When time alone would move the floor at which the account is held; null where these lists do not hold it. */
export function floorMovesAt(floor: CalendarDate | null, batches: readonly Batch[]): number | null {
  if (floor === null || holdsAllSince(floor, batches)) return null;
  return (dayNumber(floor) + FLOOR_HELD_DAYS + 1) * DAY_MS;
}

/** Neither broken off nor cut by the number of rows. */
export function areWhole(batches: readonly Batch[]): boolean {
  return batches.every(({ coverage }) => coverage.bookedComplete && !coverage.edgeExclusive);
}

function holdsAllSince(date: CalendarDate, batches: readonly Batch[]): boolean {
  return batches.every((batch) => batch.coverage.bookedComplete && windowOf(batch).partialUntil < dayNumber(date));
}

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
