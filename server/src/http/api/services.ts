/** What the management API is built from. The program constructs these once; nothing here is made by a request. */
import type { Context } from 'hono';
import type { Clock } from '../../base/clock.ts';
import type { Connector } from '../../connectors/connector.ts';
import type { DeliveryCounts } from '../../delivery/attempts/count.ts';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import type { Resolve } from '../../endpoints/lookups.ts';
import type { Arrivals } from '../../events/arrivals.ts';
import type { AdvanceOutcome, ClockTarget } from '../../refresh/test-clock/test-clock.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Vault } from '../../vault/vault.ts';

/** `deliveries`: they go by the test clock too, and an event's first attempt has ended before the clock goes on. */
export type ClockMove = { target: ClockTarget; deliveries: boolean };
/** `deliveries` where they were asked for. `restless`: they did not end in time, and the clock stands where it is. */
export type MovedClock =
  | (Extract<AdvanceOutcome, { ok: true }> & { deliveries?: DeliveryCounts })
  | { ok: false; refusal: Extract<AdvanceOutcome, { ok: false }>['refusal'] | 'restless' };

export type Services = {
  storage: Storage;
  /** Real time; the application's test clock is added where the wire shows it. */
  clock: Clock;
  vault: Vault;
  /** Which addresses a webhook may have. */
  policy: AddressPolicy;
  /** Looks up the name of a webhook's URL. */
  resolve: Resolve;
  /** Null where the bank is no longer known. */
  connector(bankId: number): Connector | null;
  /** Moves a sandbox's test clock, and runs what falls due on the way before it answers. */
  moveClock(applicationId: string, move: ClockMove, signal: AbortSignal): Promise<MovedClock>;
  /** Called after each commit that made events. */
  onEvents(): void;
  /** A refresh waits to be run. */
  onRefreshRequested(): void;
  /** For those who wait for events. Whoever made it closes it. */
  arrivals: Arrivals;
  /** Without a slash at its end. */
  publicUrl: string;
  /** The page of `docs/errors.md`, to which errors add `#type`; null where it is not published. */
  documentationUrl: string | null;
  /** The caller's address, as the trusted proxies say. */
  clientAddress(c: Context): string;
  /** A failure that no rule foresees: the caller sees `internal_error`, the operator sees this. */
  reportFailure(error: unknown): void;
};
