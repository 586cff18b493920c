/** What the scheduler remembers of an item, and how it is written: compact JSON on the item's row, `{}` for nothing. */
import { type Ledger, readLedger, writeLedger } from './ledger.ts';

export type ScheduleState = {
  ledger: Ledger;
  /** Refreshes in a row that failed for a reason that time may mend. */
  failures: number;
  /** The fingerprint of the credentials that the bank refused: they are not tried again without the user. */
  refused: string | null;
};

type Written = Parameters<typeof readLedger>[0] & { f?: number; r?: string };

export function readState(text: string): ScheduleState {
  const written = JSON.parse(text) as Written;
  return { ledger: readLedger(written), failures: written.f ?? 0, refused: written.r ?? null };
}

export function writeState({ ledger, failures, refused }: ScheduleState): string {
  const written: Written = {
    ...(failures > 0 ? { f: failures } : {}),
    ...(refused !== null ? { r: refused } : {}),
    ...writeLedger(ledger),
  };
  return JSON.stringify(written);
}
