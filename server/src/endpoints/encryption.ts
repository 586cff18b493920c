/** Encryption of bodies for one receiver: its public key, and the algorithms of the JWE (RFC 7516). Pure. */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';

export const KEY_ALGORITHMS = ['RSA-OAEP-256', 'ECDH-ES+A256KW'] as const;
export const CONTENT_ALGORITHM = 'A256GCM';

/** `key` is a public JWK (RFC 7517); its `kid` is repeated in each JWE, so that the receiver can change keys. */
export type Encryption = {
  key: JsonWebKey & { kid?: string };
  alg: (typeof KEY_ALGORITHMS)[number];
  enc: typeof CONTENT_ALGORITHM;
};

/** NIST SP 800-131A: shorter ones are no longer allowed. */
const RSA_BITS_MIN = 2_048;
/** Longer ones take receivers tens of milliseconds for each webhook. */
const RSA_BITS_MAX = 8_192;
const CURVES = ['P-256', 'P-384', 'P-521', 'X25519'];
const KEY_ID_CHARACTERS_MAX = 200;
/** Of private and symmetric keys (RFC 7518, section 6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** What is wrong with it, or null. */
export function encryptionFault({ key, alg, enc }: Encryption): string | null {
  if (!KEY_ALGORITHMS.includes(alg)) return `The encryption's "alg" must be one of ${KEY_ALGORITHMS.join(', ')}.`;
  if (enc !== CONTENT_ALGORITHM) return `The encryption's "enc" must be ${CONTENT_ALGORITHM}.`;
  if (PRIVATE_MEMBERS.some((member) => member in key)) {
    return 'The encryption key is a private one: give the public JWK only, and take the private one out of use where it was shown.';
  }
  if (key.kid !== undefined && (typeof key.kid !== 'string' || key.kid.length > KEY_ID_CHARACTERS_MAX)) {
    return `The encryption key's "kid" must be a text of at most ${KEY_ID_CHARACTERS_MAX} characters.`;
  }
  const publicKey = readPublicKey(key);
  if (!publicKey) return 'The encryption key cannot be read: give a public JWK, e.g. {"kty":"RSA","n":"…","e":"AQAB"}.';
  if (alg === 'RSA-OAEP-256') {
    if (key.kty !== 'RSA') return 'RSA-OAEP-256 needs an RSA key.';
    const bits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0;
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) return `The RSA key must have ${RSA_BITS_MIN} to ${RSA_BITS_MAX} bits.`;
    return null;
  }
  return CURVES.includes(key.crv ?? '') ? null : `ECDH-ES+A256KW needs a key on one of the curves ${CURVES.join(', ')}.`;
}

function readPublicKey(key: JsonWebKey): KeyObject | null {
  try {
    return createPublicKey({ key, format: 'jwk' });
  } catch {
    return null;
  }
}
