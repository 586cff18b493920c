/** Amounts, dates and words as statement files write them. */
import { MAX_EXPONENT, type Money, money, negate, parseDecimal } from '../../base/money.ts';
import type { CalendarDate, Observation } from '../connector.ts';

/** `1234.56`, `-0.00`, `1234,56`, and with groups `1,234.56` or `1.234,56`: of two kinds of mark, the last is the decimal one. */
export function readAmount(text: string, currency: string): Money | null {
  const comma = text.lastIndexOf(',');
  const point = text.lastIndexOf('.');
  if (comma < 0 || point < 0) return parseDecimal(text, currency);
  return parseDecimal(text.replaceAll(comma < point ? ',' : '.', ''), currency);
}

/** The sign is the indicator's alone: an amount that also carries one is read without it. */
export function signed(amount: Money, indicator: 'CRDT' | 'DBIT'): Money {
  const unsigned = amount.minor < 0 ? negate(amount) : amount;
  return indicator === 'DBIT' ? negate(unsigned) : unsigned;
}

/** The date as written: `2014-12-31T13:15:00+01:00`, `2014-12-31+01:00`, `20090401122017.000[-5:EST]`. Null if it is no day of the calendar. */
export function readDate(text: string): CalendarDate | null {
  const match = /^(\d{4})(-?)(\d{2})\2(\d{2})/.exec(text.trim());
  if (match === null) return null;
  const [year, month, day] = [Number(match[1]), Number(match[3]), Number(match[4])];
  if (year < 1900 || month < 1 || month > 12 || day < 1 || day > new Date(Date.UTC(year, month, 0)).getUTCDate()) return null;
  return `${match[1]}-${match[3]}-${match[4]}`;
}

export function nextDay(date: CalendarDate, days: number): CalendarDate {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** An instant in epoch milliseconds; without a zone it is read as UTC. Null if it cannot be read. */
export function readInstant(text: string): number | null {
  const zoned = /^\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d{2}:\d{2})$/.test(text)
    ? text
    : /T/.test(text)
      ? `${text}Z`
      : `${text.slice(0, 10)}T00:00:00Z`;
  const instant = Date.parse(zoned);
  return Number.isNaN(instant) ? null : instant;
}

/** The exact sum, or null beyond 2^53 or where the currencies differ. */
export function addUp(amounts: readonly Money[], currency: string): Money | null {
  if (amounts.some((amount) => amount.currency !== currency)) return null;
  const exponent = amounts.reduce((largest, amount) => Math.max(largest, amount.exponent), 0);
  let total = 0n;
  for (const amount of amounts) total += BigInt(amount.minor) * 10n ** BigInt(exponent - amount.exponent);
  if (total > BigInt(Number.MAX_SAFE_INTEGER) || total < BigInt(Number.MIN_SAFE_INTEGER)) return null;
  try {
    return money(Number(total), Math.min(exponent, MAX_EXPONENT), currency);
  } catch {
    return null;
  }
}

export function bookedAmounts(observations: readonly Observation[], currency: string): Money[] {
  return observations
    .filter((row) => row.status === 'booked' && row.amount.currency === currency && row.correction === undefined)
    .map((row) => row.amount);
}

/** Texts one after another; one that another already contains is left out. Compared without case and spacing, kept as written. */
export function joinTexts(...texts: (string | null)[]): string {
  const kept: string[] = [];
  for (const text of texts) {
    const trimmed = text?.trim() ?? '';
    if (trimmed === '' || kept.some((other) => includes(other, trimmed))) continue;
    const within = kept.findIndex((other) => includes(trimmed, other));
    if (within >= 0) kept.splice(within, 1);
    kept.push(trimmed);
  }
  return kept.join(' ');
}

function includes(whole: string, part: string): boolean {
  const plain = (text: string) => text.replace(/\s+/g, ' ').toLowerCase();
  return plain(whole).includes(plain(part));
}

/** An ISO 4217 code, or null. */
export function readCurrency(text: string | null | undefined): string | null {
  const code = text?.trim().toUpperCase() ?? '';
  return /^[A-Z]{3}$/.test(code) ? code : null;
}
