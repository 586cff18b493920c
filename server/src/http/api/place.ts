/**
 * A place in the log as an opaque text: base64url of a version, a check, and variable-length integers. The check binds it
 * to its application and finds what was made up or cut; it keeps no secret, since whatever the place, a page has the
 * caller's own events only.
 */
import { createHash } from 'node:crypto';
import type { Place } from '../../events/follow.ts';
import { LANES } from '../../events/log.ts';

const VERSION = 1;
const CHECK_BYTES = 8;
/** Of 2^53 - 1, seven bits each. */
const INTEGER_BYTES_MAX = 8;
/** 64 lanes, the segment and the turn at their longest, as base64. */
export const PLACE_CHARACTERS_MAX = Math.ceil(((LANES + 2) * INTEGER_BYTES_MAX + CHECK_BYTES + 1) / 3) * 4;

export function encodePlace(applicationId: string, { seqs, segment, turn }: Place): string {
  const bytes: number[] = [];
  for (const value of [segment, turn, ...seqs]) writeInteger(bytes, value);
  const content = Buffer.from(bytes);
  return Buffer.concat([Buffer.of(VERSION), check(applicationId, content), content]).toString('base64url');
}

/** Null for what {@link encodePlace} did not write for this application. */
export function decodePlace(applicationId: string, text: string): Place | null {
  if (text.length > PLACE_CHARACTERS_MAX) return null;
  const bytes = Buffer.from(text, 'base64url');
  const content = bytes.subarray(1 + CHECK_BYTES);
  if (bytes[0] !== VERSION || bytes.toString('base64url') !== text) return null;
  if (!check(applicationId, content).equals(bytes.subarray(1, 1 + CHECK_BYTES))) return null;
  const [segment, turn, ...seqs] = readIntegers(content);
  return segment !== undefined && turn !== undefined && turn < LANES && seqs.length === LANES ? { seqs, segment, turn } : null;
}

function check(applicationId: string, content: Buffer): Buffer {
  return createHash('sha256').update(`place ${VERSION} ${applicationId} `).update(content).digest().subarray(0, CHECK_BYTES);
}

/** Seven bits in each byte, the lowest first; the eighth says that more follow. No shifts: they end at 32 bits. */
function writeInteger(bytes: number[], value: number): void {
  let left = value;
  while (left >= 128) {
    bytes.push((left % 128) + 128);
    left = Math.floor(left / 128);
  }
  bytes.push(left);
}

function readIntegers(bytes: Buffer): number[] {
  const integers: number[] = [];
  let value = 0;
  let factor = 1;
  for (const byte of bytes) {
    value += (byte % 128) * factor;
    factor *= 128;
    if (byte >= 128) continue;
    integers.push(value);
    value = 0;
    factor = 1;
  }
  return integers;
}
