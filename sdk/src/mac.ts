import { createHmac } from 'node:crypto';

/** Both schemes sign with HMAC-SHA256. */
const HMAC_ALGORITHM = 'sha256';

/** The MAC of `BridgeApi-Signature`: over the raw body alone. */
export function bridgeMac(key: Uint8Array, rawBody: string | Uint8Array): Buffer {
  return createHmac(HMAC_ALGORITHM, key).update(rawBody).digest();
}

/** The MAC of Standard Webhooks: over `id.timestamp.body`. */
export function standardMac(key: Uint8Array, id: string, timestamp: string, rawBody: string | Uint8Array): Buffer {
  return createHmac(HMAC_ALGORITHM, key).update(`${id}.${timestamp}.`).update(rawBody).digest();
}
