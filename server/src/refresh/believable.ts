/** What a connector answered, checked once before anything is made of it: rubbish must not become rows, nor delete any. */
import { MAX_EXPONENT, type Money } from '../base/money.ts';
import type { Batch, Observation } from '../connectors/connector.ts';

/** More rows than any account has in a bank's history; what detection holds in memory is bounded by it (about 1 KB for each). */
const ROWS_MAX = 200_000;
const CURRENCY = /^[A-Z]{3}$/;
const STATUSES: readonly string[] = ['booked', 'pending', 'scheduled'];

/** Throws on rubbish, without a word of what the rows say. */
export function checkBatches(batches: readonly Batch[]): void {
  let rows = 0;
  for (const { observations, coverage, balance } of batches) {
    rows += observations.length;
    if (rows > ROWS_MAX) throw new Error(`the connector answered more than ${ROWS_MAX} rows`);
    for (const { from, to } of coverage.windows)
      if (!isDate(from) || !isDate(to)) throw new Error('a window of the coverage has no valid dates');
    if (balance !== null && !isMoney(balance.amount)) throw new Error('the balance is no amount');
    for (const observation of observations) checkObservation(observation);
  }
}

function checkObservation({ status, amount, rawText, bookingDate, transactionDate, valueDate }: Observation): void {
  if (!STATUSES.includes(status)) throw new Error('a row has no known status');
  if (!isMoney(amount)) throw new Error('the amount of a row is no amount');
  if (typeof rawText !== 'string') throw new Error('a row has no label');
  for (const date of [bookingDate, transactionDate, valueDate])
    if (date !== undefined && !isDate(date)) throw new Error('a date of a row is no calendar date');
}

function isMoney({ minor, exponent, currency }: Money): boolean {
  return Number.isSafeInteger(minor) && Number.isInteger(exponent) && exponent >= 0 && exponent <= MAX_EXPONENT && CURRENCY.test(currency);
}

const DATE = /^\d{4}-(\d{2})-(\d{2})$/;
const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** `YYYY-MM-DD` of a month that has this day; the leap day is not looked at by year, it sorts and counts rightly anyway. */
function isDate(date: string): boolean {
  const match = DATE.exec(date);
  if (match === null) return false;
  const day = Number(match[2]);
  return day >= 1 && day <= (DAYS[Number(match[1]) - 1] ?? 0);
}
