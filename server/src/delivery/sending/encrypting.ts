/** Bodies for one receiver's eyes only: JWE in its compact form (RFC 7516). */
import { createPublicKey } from 'node:crypto';
import type { Encryption } from '../../endpoints/encryption.ts';

export const ENCRYPTED_TYPE = 'application/jose';

/** A new content key, and so other bytes, on each call. */
export type Encrypter = (body: Buffer) => Promise<Buffer>;

export function createEncrypter({ key, alg, enc }: Encryption): Encrypter {
  const publicKey = createPublicKey({ key, format: 'jwk' });
  const header = { alg, enc, cty: 'application/json', ...(key.kid === undefined ? {} : { kid: key.kid }) };
  return async (body) => {
    // 4 MB that only a receiver who asks for encryption costs.
    const { CompactEncrypt } = await import('jose');
    return Buffer.from(await new CompactEncrypt(body).setProtectedHeader(header).encrypt(publicKey));
  };
}
