/** How often a bank may be asked, and when: each bank's description overrides what it needs of these. Pure data. */
import { HOUR_MS } from '../base/clock.ts';

/** Minutes of the UTC day, `from` inclusive and `to` exclusive; `from` < `to`. */
export type Band = { fromMinute: number; toMinute: number };

export type BankAccess = {
  /** Refreshes a day without anybody asking, at most one in each band. */
  maxUnattendedPerDay: number;
  /** When they happen; null for the application's own, or else the default. */
  bands: readonly Band[] | null;
  /** No refresh by the scheduler sooner than this after any other one; it may retry a failure sooner. */
  minGapMs: number;
  /** Calls for one scope (balances, transactions) of one account in any 24 h; null where the bank sets no limit. */
  callsPerDay: number | null;
  /** Of those, kept from the scheduler for requests of the API without a user present. */
  callsKeptForRequests: number;
  /** Whether calls with the user present count too. PSD2 counts only those without. */
  countsAttended: boolean;
  /** After so many days the next refresh looks at the whole history again; null where the bank does not take that well. */
  fullRefreshDays: number | null;
  /** Logins without the user in any 24 h; null for no limit. Those with the user count, but are never refused. */
  loginsPerDay: number | null;
};

/** Early enough for the morning's accounting, and after the working day's booking; both six hours wide, so that the load is spread. */
export const DEFAULT_BANDS: readonly Band[] = [
  { fromMinute: 3 * 60, toMinute: 9 * 60 },
  { fromMinute: 15 * 60, toMinute: 21 * 60 },
];

/** Article 36(5) of the technical standards under PSD2: four requests in 24 hours without the user. */
export const DEFAULT_ACCESS: BankAccess = {
  maxUnattendedPerDay: 2,
  bands: null,
  minGapMs: 4 * HOUR_MS,
  callsPerDay: 4,
  callsKeptForRequests: 1,
  countsAttended: false,
  // What is booked weeks late, under a date that no window reaches any more, is found then.
  fullRefreshDays: 7,
  // Far above two refreshes, their retries and some requests; far below what a bank takes for an attack.
  loginsPerDay: 12,
};
