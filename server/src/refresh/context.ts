/** What one run of a refresh has in hand from its beginning to its end. */
import type { Connector, Failure } from '../connectors/connector.ts';
import type { Refresh } from '../items/refreshes.ts';
import type { ComparedAccount, TransactionRecord } from '../transactions/transactions.ts';
import type { LoginOutcome } from './bank.ts';
import type { Beginning } from './beginning.ts';
import type { Endings } from './endings.ts';
import type { Pacing } from './schedule/pacing.ts';

/** `now` is the application's clock when the run began; commits read it again. `connector` is null where the bank is no longer known. */
export type Run = Beginning & {
  refresh: Refresh;
  endings: Endings;
  rowsToCompare: RowsToCompare;
  connector: Connector | null;
  pacing: Pacing;
  now: number;
  startedAt: number;
  traceparent: string;
  /** Calls made to the bank so far. */
  calls: number;
  /** The failure that the bank has answered; null where it has not, or was not asked. */
  heard: Failure | null;
  /** What its login has brought; null before one has succeeded. */
  login: LoginOutcome | null;
};

/** The stored rows that answers are compared with, by account. */
export type RowsToCompare = (accounts: readonly ComparedAccount[], deletedAfter: number) => Promise<Map<number, TransactionRecord[]>>;

/** What runs begin with and end in, shared by those that do so together. `beginning` is null for an item that is gone. */
export type RunTogether = {
  beginning: () => Promise<Beginning | null>;
  rowsToCompare: RowsToCompare;
  endings: Endings;
  signal: AbortSignal;
};

/** The second half of a first connection: the full history, after the first data. */
export function completesConnection(refresh: Refresh): boolean {
  return refresh.cause === 'completion';
}

export function isAttended(refresh: Refresh): boolean {
  return refresh.cause === 'connect';
}
