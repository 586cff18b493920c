/** What the management API is built from. The program constructs these once; nothing here is made by a request. */
import type { Context } from 'hono';
import type { Clock } from '../../base/clock.ts';
import type { AddressPolicy } from '../../endpoints/addresses.ts';
import type { Arrivals } from '../../events/arrivals.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Vault } from '../../vault/vault.ts';

export type Services = {
  storage: Storage;
  /** Real time; the application's test clock is added where the wire shows it. */
  clock: Clock;
  vault: Vault;
  /** Which addresses a webhook may have. */
  policy: AddressPolicy;
  /** Called after each commit that made events. */
  onEvents(): void;
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
