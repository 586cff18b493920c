/** What a CAMT statement proves: its closing balance, and that its rows are all there are. */
import { equal, type Money } from '../../base/money.ts';
import type { Balance, CalendarDate, Coverage, Observation } from '../connector.ts';
import type { Statement } from './model.ts';
import { addUp, bookedAmounts } from './values.ts';

/**
 * Nothing is vouched for. `historyComplete` is set by `combineUpload`. Pending rows are in no balance, so that no file
 * proves their absence; a booked row takes the place of its pending one by matching.
 */
export const NOTHING_VOUCHED: Coverage = {
  windows: [],
  bookedComplete: false,
  pendingComplete: false,
  scheduledComplete: false,
  edgeExclusive: false,
  historyComplete: false,
};

/** Opening plus booked rows, dated by the last of them; null without an opening balance. */
export function computedClosing(opening: Balance | null, observations: readonly Observation[], currency: string): Balance | null {
  if (opening === null) return null;
  const amount = addUp([opening.amount, ...bookedAmounts(observations, currency)], currency);
  if (amount === null) return null;
  const dates = observations.filter((row) => row.status === 'booked').flatMap((row) => dateOf(row) ?? []);
  const last = dates.reduce<CalendarDate | null>((latest, date) => (latest === null || date > latest ? date : latest), opening.at);
  return { amount, kind: 'computed', at: last };
}

/** The latest of the stated closings; of one date, that which no opening carries on from, then the last in the file. */
export function latestClosing(closings: readonly Balance[], openings: readonly Money[]): Balance | null {
  const latestAt = closings
    .map(({ at }) => at ?? '')
    .sort()
    .at(-1);
  const latest = closings.filter(({ at }) => (at ?? '') === latestAt);
  const ends = latest.filter(({ amount }) => !openings.some((opening) => equal(opening, amount)));
  return (ends.length > 0 ? ends : latest).at(-1) ?? null;
}

/**
 * A statement vouches for the whole days of its period when all its pages are here, opening + booked rows = the stated
 * closing balance, every booked row is in the account's currency and none lies outside the period.
 */
export function coverageOf(statement: Omit<Statement, 'coverage'>): Coverage {
  const { account, page, opening, closing, wholeDays, periodFrom, periodTo, observations } = statement;
  const whole = page === null || (page.number === 1 && page.last === true);
  if (!whole || opening === null || closing?.kind !== 'closing-booked' || wholeDays === null) return NOTHING_VOUCHED;
  const booked = observations.filter((row) => row.status === 'booked');
  const total = addUp([opening.amount, ...booked.map((row) => row.amount)], account.currency);
  if (total === null || !equal(total, closing.amount)) return NOTHING_VOUCHED;
  const outside = (date: CalendarDate) => date < (periodFrom ?? date) || date > (periodTo ?? date);
  if (booked.some((row) => outside(dateOf(row) ?? ''))) return NOTHING_VOUCHED;
  return { ...NOTHING_VOUCHED, windows: [wholeDays], bookedComplete: true, absenceIsFinal: true };
}

function dateOf(row: Observation): CalendarDate | undefined {
  return row.bookingDate ?? row.transactionDate ?? row.valueDate;
}
