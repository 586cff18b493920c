/** The bank's calendar: days are integers, and the bank does its work on the hour, in the local time of Paris. */
import type { CalendarDate } from '../connector.ts';

const DAY_MS = 86_400_000;

/** Days since 1970-01-01, as a date of the bank: no time zone shifts it. */
export type Day = number;

/** Hours of the bank's local time: `day * 24 + hour`. The bank acts between 6 and 21 h only, so the doubled hour of autumn is no matter. */
export type Moment = number;

/** Made at its first use: the tables of the world's calendars and languages are 11 MB in memory, and an idle server needs none. */
let paris: Intl.DateTimeFormat | null = null;
const openParis = () =>
  new Intl.DateTimeFormat('en-GB', {
    timeZone: 'Europe/Paris',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
  });

const HOUR_MS = 3_600_000;
/** Every account of an item is asked for at the same instant. Clocks in Paris are changed on the full hour of UTC. */
let latest = { hour: Number.NaN, moment: 0 };

/** The bank's local hour at an instant (epoch milliseconds). */
export function momentAt(nowMs: number): Moment {
  const hour = Math.floor(nowMs / HOUR_MS);
  if (hour !== latest.hour) latest = { hour, moment: readMoment(nowMs) };
  return latest.moment;
}

function readMoment(nowMs: number): Moment {
  paris ??= openParis();
  const parts: Record<string, number> = {};
  for (const part of paris.formatToParts(nowMs)) parts[part.type] = Number(part.value);
  const { year, month, day, hour } = parts as { year: number; month: number; day: number; hour: number };
  return at(Date.UTC(year, month - 1, day) / DAY_MS, hour);
}

export function at(day: Day, hour: number): Moment {
  return day * 24 + hour;
}

export function dayOf(moment: Moment): Day {
  return Math.floor(moment / 24);
}

/** Days are written thousands of times in one answer; this many stay written. */
const WRITTEN_DAYS = 4096;
const written = new Map<Day, CalendarDate>();

export function dateOf(day: Day): CalendarDate {
  let date = written.get(day);
  if (date === undefined) {
    if (written.size === WRITTEN_DAYS) written.clear();
    date = new Date(day * DAY_MS).toISOString().slice(0, 10);
    written.set(day, date);
  }
  return date;
}

/** `29/10`, as French banks print the day of a card payment in the label. */
export function shortDateOf(day: Day): string {
  const date = dateOf(day);
  return `${date.slice(8)}/${date.slice(5, 7)}`;
}

export function dayOfDate(date: CalendarDate): Day {
  return Date.parse(`${date}T00:00:00Z`) / DAY_MS;
}

/** Months since January 1970, and the day within that month. */
export function monthOf(day: Day): { month: number; dayOfMonth: number } {
  const date = new Date(day * DAY_MS);
  return { month: (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth(), dayOfMonth: date.getUTCDate() };
}

/** A day of a month (1 to 28); 0 is the last day of the month before. */
export function dayInMonth(month: number, dayOfMonth: number): Day {
  return Date.UTC(1970, month, dayOfMonth) / DAY_MS;
}
