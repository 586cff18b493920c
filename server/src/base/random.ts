import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';

/** `prefix_` and 20 random characters of Crockford's base 32 (100 bits). */
export function randomId(prefix: string): string {
  let text = '';
  for (const byte of randomBytes(20)) text += CROCKFORD[byte & 31];
  return `${prefix}_${text}`;
}

export function randomToken(bytes: number): string {
  return randomBytes(bytes).toString('base64url');
}

export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** How secrets that only need to be recognised are stored: SHA-256 of a random value of at least 128 bits. */
export function digest(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/** Constant in time for texts of one length; lengths are not secret. */
export function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
