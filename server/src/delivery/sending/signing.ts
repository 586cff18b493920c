/**
 * Both signature schemes, over the bytes that are sent. The SDK's `sign` is for users' tests: it parses its secrets on
 * each call and has no place to keep `KeyObject`s, which make one HMAC 1.7 µs instead of 11.5 µs.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { OpenSecret } from '../../endpoints/secrets.ts';

type Keys = { bridge: KeyObject; standard: KeyObject | null; expiresAt: number };

const STANDARD_PREFIX = 'whsec_';

/** `BridgeApi-Signature` and `webhook-signature`; the second is null when no secret has the prefix of Standard Webhooks. */
export type Signatures = { bridge: string; standard: string | null };
/** Null when no secret is alive. `timestamp` is epoch seconds as text, `now` epoch milliseconds. */
export type Signer = (id: string, timestamp: string, body: Buffer, now: number) => Signatures | null;

/** `secrets` are newest first, and so are the signatures: one per secret that is alive. */
export function createSigner(secrets: readonly OpenSecret[]): Signer {
  const keys = secrets.map(readKeys);
  return (id, timestamp, body, now) => {
    let bridge = '';
    let standard = '';
    for (const key of keys) {
      if (key.expiresAt <= now) continue;
      const mac = createHmac('sha256', key.bridge).update(body).digest('hex').toUpperCase();
      bridge += bridge === '' ? `v1=${mac}` : `,v1=${mac}`;
      if (!key.standard) continue;
      const standardMac = createHmac('sha256', key.standard).update(`${id}.${timestamp}.`).update(body).digest('base64');
      standard += standard === '' ? `v1,${standardMac}` : ` v1,${standardMac}`;
    }
    return bridge === '' ? null : { bridge, standard: standard === '' ? null : standard };
  };
}

function readKeys({ secret, expiresAt }: OpenSecret): Keys {
  return {
    bridge: createSecretKey(Buffer.from(secret)),
    standard: secret.startsWith(STANDARD_PREFIX) ? createSecretKey(Buffer.from(secret.slice(STANDARD_PREFIX.length), 'base64')) : null,
    expiresAt: expiresAt ?? Number.POSITIVE_INFINITY,
  };
}
