/** What refreshes need of the rest of the server, and what they tell it. */
import type { Clock } from '../base/clock.ts';
import type { Connector } from '../connectors/connector.ts';
import type { Refresh } from '../items/refreshes.ts';
import type { Counters } from '../storage/counters.ts';
import type { Storage } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';
import type { Vault } from '../vault/vault.ts';
import type { BankOutcomes } from './schedule/circuits.ts';

export type RefreshServices = {
  storage: Storage;
  vault: Vault;
  counters: Counters;
  clock: Clock;
  log: Log;
  /** Real time, in milliseconds; over at once when `signal` is aborted. */
  pause: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Null where the bank is no longer known. */
  connector: (bankId: number) => Connector | null;
  /** The life of this node, which claims its refreshes; absent where there is none. */
  claimant?: string;
  /** How banks have answered of late. */
  outcomes: BankOutcomes;
  /** Called after a commit that made events. */
  onEvents: () => void;
  /** Called when a refresh has ended and is committed. */
  onRefreshed?: (report: RefreshReport) => void;
};

/** Real time, epoch milliseconds. */
export type RefreshReport = {
  refreshId: string;
  itemId: number;
  bankId: number;
  cause: Refresh['cause'];
  status: number;
  traceparent: string;
  endedAt: number;
  durationMs: number;
};
