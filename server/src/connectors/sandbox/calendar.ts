/** The bank's calendar: days are integers, and the bank does its work on the hour, in the local time of Paris. */
import type { CalendarDate } from '../connector.ts';

const DAY_MS = 86_400_000;

/** Days since 1970-01-01, as a date of the bank: no time zone shifts it. */
export type Day = number;

/** Hours of the bank's local time: `day * 24 + hour`. The bank acts between 6 and 21 h only, so the doubled hour of autumn is no matter. */
export type Moment = number;

const HOUR_MS = 3_600_000;
/** Directive 2000/84/EC: summer time from the last Sunday of March to that of October, at 01:00 UTC. */
const [MARCH, OCTOBER] = [2, 9];
const CHANGE_HOUR = 1;

/**
 * The bank's local hour at an instant (epoch milliseconds). By the rule and not by `Intl`, whose tables of the world's
 * calendars take 0.1 s and 11 MB at their first use: a test clock asks 2,000 times in a year.
 */
export function momentAt(nowMs: number): Moment {
  return Math.floor(nowMs / HOUR_MS) + (isSummerTime(nowMs) ? 2 : 1);
}

function isSummerTime(nowMs: number): boolean {
  const year = new Date(nowMs).getUTCFullYear();
  return nowMs >= changeOn(year, MARCH) && nowMs < changeOn(year, OCTOBER);
}

/** Both months have 31 days. */
function changeOn(year: number, month: number): number {
  const last = Date.UTC(year, month, 31, CHANGE_HOUR);
  return last - new Date(last).getUTCDay() * DAY_MS;
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
