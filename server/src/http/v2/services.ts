/** What the API is built from. The program constructs these once; nothing here is made by a request. */
import type { Context } from 'hono';
import type { Application } from '../../access/applications.ts';
import type { Clock } from '../../base/clock.ts';
import type { Registry } from '../../connectors/registry.ts';
import type { Storage } from '../../storage/storage.ts';

export type Language = 'en' | 'fr';

export type ConnectRequest = {
  application: Application;
  userUuid: string;
  purpose: 'add' | 'edit' | 'sync';
  itemId?: number;
  bankId?: number;
  /** Where the browser goes at the end: what the caller asked for, else the application's own. */
  redirectUrl?: string;
  context?: string;
  /** Two upper-case letters. */
  country?: string;
  language: Language;
};

export type Services = {
  storage: Storage;
  /** Real time; the application's test clock is added where the wire shows it. */
  clock: Clock;
  registry: Registry;
  /** Null where the user or the item has been erased meanwhile. */
  createConnectSession(request: ConnectRequest): Promise<{ url: string } | null>;
  /** Null where the item has been erased meanwhile. */
  requestRefresh(itemId: number, cause: 'api'): Promise<{ refreshId: string } | null>;
  /** Both answer the id of the receipt, or null where there was nothing to erase. */
  deleteItem(itemId: number): Promise<string | null>;
  deleteUser(userUuid: string): Promise<string | null>;
  /** Without a slash at its end. */
  publicUrl: string;
  /** The page of `docs/errors.md`, to which errors add `#type`; null where it is not published. */
  documentationUrl: string | null;
  /** The caller's address, as the trusted proxies say. */
  clientAddress(c: Context): string;
  /** A failure that no rule foresees: the caller sees `internal_error`, the operator sees this. */
  reportFailure(error: unknown): void;
};
