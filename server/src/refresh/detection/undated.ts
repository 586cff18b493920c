/**
 * Rows that the bank shows without any date (holds, mostly). They keep the date under which they were first seen: a row that
 * moved to today at every look would be counted as updated every day.
 */
import type { Observation } from '../../connectors/connector.ts';
import { statedDate } from './content-index.ts';
import { calendarDate, dayOfInstant, norm } from './normalise.ts';
import type { StoredTransaction } from './types.ts';

/** The same rows, each with a date; the same array where all have one. */
export function withDates(observations: readonly Observation[], stored: readonly StoredTransaction[], now: number): readonly Observation[] {
  const undated = observations.filter((observation) => statedDate(observation) === undefined);
  if (undated.length === 0) return observations;
  const dates = new Map<string, string[]>();
  for (const { status, amount, rawText, date, deletedAt } of stored) {
    if (deletedAt !== null) continue;
    const key = keyOf(status, amount, rawText);
    const known = dates.get(key);
    if (known === undefined) dates.set(key, [date]);
    else known.push(date);
  }
  // A row of the same content that states its date is the stored one of that date.
  for (const observation of observations) {
    const stated = statedDate(observation);
    const known = stated === undefined ? undefined : dates.get(keyOf(observation.status, observation.amount, observation.rawText));
    const claimed = known?.indexOf(stated!) ?? -1;
    if (claimed >= 0) known!.splice(claimed, 1);
  }
  // The latest are taken first: what was shown longest ago is gone first.
  for (const known of dates.values()) known.sort();
  const today = calendarDate(dayOfInstant(now));
  const dated = new Map<Observation, Observation>();
  for (const observation of undated.toSorted(byLabelAndId)) {
    const date = dates.get(keyOf(observation.status, observation.amount, observation.rawText))?.pop() ?? today;
    dated.set(
      observation,
      observation.status === 'booked' ? { ...observation, bookingDate: date } : { ...observation, transactionDate: date },
    );
  }
  return observations.map((observation) => dated.get(observation) ?? observation);
}

function keyOf(status: string, { minor, exponent, currency }: StoredTransaction['amount'], label: string): string {
  return `${status} ${minor} ${exponent} ${currency} ${norm(label)}`;
}

function byLabelAndId(a: Observation, b: Observation): number {
  if (a.rawText !== b.rawText) return a.rawText < b.rawText ? -1 : 1;
  const [left, right] = [a.providerId ?? '', b.providerId ?? ''];
  return left === right ? 0 : left < right ? -1 : 1;
}
