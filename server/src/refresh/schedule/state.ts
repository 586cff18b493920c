/** What the scheduler remembers of an item, and how it is written: compact JSON on the item's row, `{}` for nothing. */
import { type Ledger, readLedger, writeLedger } from './ledger.ts';

export type ScheduleState = {
  ledger: Ledger;
  /** Refreshes in a row that failed for a reason that time may mend. */
  failures: number;
  /**
   * Of some accounts, while the others answer: `times` that a refresh in a row left one failing. Until `slot`, the moment at which
   * all are due again, the scheduler asks only these; null where it does not ask before. Null where none fails, or all do.
   */
  someFailed: { times: number; slot: number | null } | null;
  /** The bank wishes to be left in peace until then, by all accounts, or where `someFailed` says so by those that failed; null without a wish. */
  patientUntil: number | null;
  /** The fingerprint of the credentials that the bank refused: they are not tried again without the user. */
  refused: string | null;
  /** When the whole history was last looked at, or began to be waited for; null before the first refresh. */
  fullAt: number | null;
};

type Written = Parameters<typeof readLedger>[0] & { f?: number; p?: [times: number, slot?: number]; w?: number; r?: string; h?: number };

/** Throws where it cannot be read: a bank is not asked by whoever does not know what it was asked before. */
export function readState(text: string): ScheduleState {
  const written = JSON.parse(text) as Written;
  const { f: failures = 0, p: some, w: patientUntil = null, r: refused = null, h: fullAt = null } = written;
  const someFailed = some ? { times: some[0], slot: some[1] ?? null } : null;
  return { ledger: readLedger(written), failures, someFailed, patientUntil, refused, fullAt };
}

/** For those who ask no bank by it: what cannot be read is as if nothing were remembered. */
export function readStateOrNothing(text: string): ScheduleState {
  try {
    return readState(text);
  } catch {
    return readState('{}');
  }
}

export function writeState({ ledger, failures, someFailed, patientUntil, refused, fullAt }: ScheduleState): string {
  const written: Written = {
    ...(failures > 0 ? { f: failures } : {}),
    ...(someFailed !== null ? { p: someFailed.slot === null ? [someFailed.times] : [someFailed.times, someFailed.slot] } : {}),
    ...(patientUntil !== null ? { w: patientUntil } : {}),
    ...(refused !== null ? { r: refused } : {}),
    ...(fullAt !== null ? { h: fullAt } : {}),
    ...writeLedger(ledger),
  };
  return JSON.stringify(written);
}
