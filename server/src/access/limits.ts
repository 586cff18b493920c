/** How often one may call (contract, section 2.5). Windows are kept in memory, by node. */
import { type Clock, MINUTE_MS } from '../base/clock.ts';
import { Refusal } from '../base/errors.ts';

export type Limit = { readonly count: number; readonly windowMs: number };

export const APPLICATION_LIMIT: Limit = { count: 2_000, windowMs: 5 * MINUTE_MS };
export const USER_LIMIT: Limit = { count: 60, windowMs: MINUTE_MS };
export const AUTHENTICATE_LIMIT: Limit = { count: 10, windowMs: MINUTE_MS };
/** Of the management API, counted apart, so that a program that reads events does not use up its calls of `/v2`. */
export const MANAGEMENT_LIMIT: Limit = { count: 2_000, windowMs: 5 * MINUTE_MS };
/** Calls without valid client credentials, by address. The documentation gives no number: one a second is no program's need. */
export const UNAUTHENTICATED_LIMIT: Limit = { count: 60, windowMs: MINUTE_MS };
/**
 * Logins at a bank that one user may ask for in Connect: whoever mistypes needs a handful. Beyond, banks lock accounts, send codes
 * by SMS that nobody wants, and at last refuse this server.
 */
export const BANK_LOGIN_LIMIT: Limit = { count: 20, windowMs: 10 * MINUTE_MS };
/** Windows kept per limit: a few megabytes. Beyond, the oldest window is forgotten, so that memory stays bounded. */
export const WINDOWS_KEPT = 50_000;

export type RateLimit = {
  /** Counts one call of `key`; throws 429 with `Retry-After` (seconds) where its window is full. */
  take(key: string): void;
};

/** Fixed windows, each beginning with its first call. */
export function createRateLimit(limit: Limit, clock: Clock, windowsKept = WINDOWS_KEPT): RateLimit {
  const windows = new Map<string, { endsAt: number; calls: number }>();
  return {
    take(key) {
      const now = clock.now();
      let window = windows.get(key);
      if (!window || window.endsAt <= now) {
        windows.delete(key);
        if (windows.size >= windowsKept) windows.delete(windows.keys().next().value!);
        window = { endsAt: now + limit.windowMs, calls: 0 };
        windows.set(key, window);
      }
      window.calls += 1;
      if (window.calls > limit.count)
        throw new Refusal('too_many_requests', undefined, { 'Retry-After': String(Math.ceil((window.endsAt - now) / 1_000)) });
    },
  };
}
