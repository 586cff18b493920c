/** Labels and calendar dates in comparable forms. */
import type { CalendarDate } from '../../connectors/connector.ts';

const PLAIN = /^[A-Z0-9]+(?: [A-Z0-9]+)*$/;
const DIACRITICS = /\p{M}+/gu;
/** `12.03`, `12/03/26`, `2026-03-12`; an amount such as `12.50` is no date. */
const DATES = /(?<![\d.,/-])(?:\d{4}-\d{2}-\d{2}|(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|1[0-2])(?:[./](?:\d{4}|\d{2}))?)(?![\d/]|[.,]\d)/g;
/** `XXXX1234`, `CB*1234`. A run of letters or stars is entered at its start only, so that long ones cost no square of their length. */
const MASKED_CARDS = /(?<!X)X{2,}\d{4}(?!\d)|(?<![A-Z*])[A-Z]*\*+ ?\d{4}(?!\d)|(?<=\*)[A-Z]+\*+ ?\d{4}(?!\d)/g;
/** Statement formats end at 500 characters or so; what a longer label says after this is not needed to recognise it. */
const COMPARED_LENGTH_MAX = 1_000;
const SEPARATORS = /[^\p{L}\p{N}]+/gu;

/** A label without what banks change at will: case, accents, dates, masked card numbers, punctuation, spacing. */
export function norm(text: string): string {
  if (text.length > COMPARED_LENGTH_MAX) return norm(text.slice(0, COMPARED_LENGTH_MAX));
  if (PLAIN.test(text) && !text.includes('XX')) return text;
  return text
    .normalize('NFKD')
    .replace(DIACRITICS, '')
    .toUpperCase()
    .replace(DATES, ' ')
    .replace(MASKED_CARDS, ' ')
    .replace(SEPARATORS, ' ')
    .trim();
}

/** Visible ASCII with single spaces: nothing to level. */
const LEVEL = /^[!-~]+(?: [!-~]+)*$/;

/** A label as it is compared for `updated`: only Unicode form and white space are levelled. */
export function collapse(text: string): string {
  return LEVEL.test(text) ? text : text.normalize('NFC').replace(/\s+/g, ' ').trim();
}

const CONTAINED_SIMILARITY = 0.9;
/** Shorter labels are contained by chance. */
const CONTAINED_LENGTH_MIN = 6;

export function tokens(normalised: string): ReadonlySet<string> {
  return new Set(normalised === '' ? [] : normalised.split(' '));
}

/** Likeness of two normalised labels, 0..1: the mean of the shared words over the shorter and over the longer label. */
export function sim(a: string, b: string, wordsOf: (normalised: string) => ReadonlySet<string> = tokens): number {
  if (a === b) return 1;
  const [shorter, longer] = a.length <= b.length ? [a, b] : [b, a];
  const contained = shorter.length >= CONTAINED_LENGTH_MIN && longer.includes(shorter) ? CONTAINED_SIMILARITY : 0;
  const wordsA = wordsOf(a);
  const wordsB = wordsOf(b);
  const [few, many] = wordsA.size <= wordsB.size ? [wordsA, wordsB] : [wordsB, wordsA];
  if (few.size === 0) return contained;
  let overlap = 0;
  for (const word of few) if (many.has(word)) overlap += 1;
  return Math.max(contained, (overlap / few.size + overlap / many.size) / 2);
}

const ZERO = '0'.charCodeAt(0);
const MS_PER_DAY = 86_400_000;

/** Days since 1970-01-01 of a calendar date; calendar arithmetic, no time zone. */
export function dayNumber(date: CalendarDate): number {
  const year = 100 * twoDigits(date, 0) + twoDigits(date, 2);
  const month = twoDigits(date, 5);
  const day = twoDigits(date, 8);
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
}

function twoDigits(text: string, at: number): number {
  return (text.charCodeAt(at) - ZERO) * 10 + text.charCodeAt(at + 1) - ZERO;
}

export function calendarDate(dayNumber: number): CalendarDate {
  return new Date(dayNumber * MS_PER_DAY).toISOString().slice(0, 10);
}

/** The day number of an instant, in UTC. */
export function dayOfInstant(now: number): number {
  return Math.floor(now / MS_PER_DAY);
}
