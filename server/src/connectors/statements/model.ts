/** What a statement file says, once read. */
import type { Balance, CalendarDate, Coverage, Observation, ObservedAccount } from '../connector.ts';
import type { Problem } from './problems.ts';

/**
 * The bank that a file comes from. `bankCode`: country and bank code of the IBANs, `NL:VAYB`, `FR:30003`.
 * `org`: `ORG/FID` of an OFX file. Null where the file does not say.
 */
export type FileBank = { bankCode: string | null; org: string | null };

/** A page of a statement that was cut into several. `last` null: the file does not say. */
export type Page = { number: number; last: boolean | null };

export type Statement = {
  account: ObservedAccount;
  /** The bank's id of the statement; all its pages carry it. */
  statementId: string | null;
  /** Inclusive dates as written, null where the file gives no period. */
  periodFrom: CalendarDate | null;
  periodTo: CalendarDate | null;
  /** The days of the period that it covers from midnight to midnight; null where there is none. */
  wholeDays: { from: CalendarDate; to: CalendarDate } | null;
  /** The instant as written: ISO 8601, with or without a zone. */
  createdAt: string | null;
  page: Page | null;
  observations: Observation[];
  opening: Balance | null;
  /** `closing-booked` or `ledger` as stated, else `computed` (opening and booked rows), else null: unknown. */
  closing: Balance | null;
  /** What the statement vouches for by itself; `combineUpload` takes back what a later statement contradicts. */
  coverage: Coverage;
};

export type StatementFile = {
  name: string;
  kind: 'camt.053' | 'ofx';
  /** SHA-256 of the bytes, in hexadecimal. */
  hash: string;
  bank: FileBank;
  statements: Statement[];
};

export type ReadOutcome = { ok: true; file: StatementFile } | { ok: false; problem: Problem };
