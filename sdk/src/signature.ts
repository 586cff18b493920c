import { bridgeMac, standardMac } from './mac.ts';
import { readSecrets } from './secret.ts';

export const BRIDGE_SIGNATURE = 'BridgeApi-Signature';
export const WEBHOOK_ID = 'webhook-id';
export const WEBHOOK_TIMESTAMP = 'webhook-timestamp';
export const WEBHOOK_SIGNATURE = 'webhook-signature';

export type SignOptions = {
  /** The event's id, e.g. `evt_…`: the same on every attempt. Visible ASCII without a dot. */
  id: string;
  /** Epoch seconds of this attempt. */
  timestamp: number;
};

/**
 * The headers of both schemes for these body bytes, one signature per secret in the order given (newest first).
 * The three `webhook-…` headers are left out when no secret has the `whsec_` prefix.
 * Throws `TypeError` for secrets that cannot be used and `RangeError` for a bad id or timestamp.
 */
export function sign(rawBody: string | Uint8Array, secrets: string | readonly string[], options: SignOptions): Record<string, string> {
  const { id, timestamp } = options;
  if (!/^[!-~]+$/.test(id) || id.includes('.')) throw new RangeError('The id must be visible ASCII characters without a dot.');
  if (!Number.isSafeInteger(timestamp) || timestamp < 0) throw new RangeError('The timestamp must be whole epoch seconds.');
  const read = readSecrets(secrets);
  if (read.outcome === 'refused') throw new TypeError(read.message);
  const headers: Record<string, string> = {
    [BRIDGE_SIGNATURE]: read.keys.map((key) => `v1=${bridgeMac(key.bridge, rawBody).toString('hex').toUpperCase()}`).join(','),
  };
  const standardKeys = read.keys.flatMap((key) => key.standard ?? []);
  if (standardKeys.length === 0) return headers;
  headers[WEBHOOK_ID] = id;
  headers[WEBHOOK_TIMESTAMP] = String(timestamp);
  headers[WEBHOOK_SIGNATURE] = standardKeys
    .map((key) => `v1,${standardMac(key, id, String(timestamp), rawBody).toString('base64')}`)
    .join(' ');
  return headers;
}
