/** Passwords of users of the old form, kept as scrypt digests. */
import { randomBytes, scrypt } from 'node:crypto';
import { sameText } from '../base/random.ts';

/** OWASP's equivalent of its first choice with the least memory: 16 MiB a digest. */
const COST = 2 ** 14;
const BLOCK_SIZE = 8;
const PARALLELIZATION = 5;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
/** Digests computed at once: each holds a thread of the pool that files and lookups of names share. */
const AT_ONCE = 2;

/** `scrypt$<cost>$<block size>$<parallelization>$<salt>$<key>`, the last two in base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES).toString('base64url');
  const key = await derive(password, salt, COST, BLOCK_SIZE, PARALLELIZATION);
  return `scrypt$${COST}$${BLOCK_SIZE}$${PARALLELIZATION}$${salt}$${key}`;
}

/** Takes as long for a user without a password (null) as for a wrong one. */
export async function passwordMatches(password: string, stored: string | null): Promise<boolean> {
  const [, cost, blockSize, parallelization, salt, key] = stored?.split('$') ?? [];
  const derived = await derive(
    password,
    salt ?? '',
    Number(cost ?? COST),
    Number(blockSize ?? BLOCK_SIZE),
    Number(parallelization ?? PARALLELIZATION),
  );
  return key !== undefined && sameText(derived, key);
}

let running = 0;
const waiting: (() => void)[] = [];

async function derive(password: string, salt: string, cost: number, blockSize: number, parallelization: number): Promise<string> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    return await new Promise((resolve, reject) => {
      scrypt(password, salt, KEY_BYTES, { N: cost, r: blockSize, p: parallelization }, (error, key) =>
        error ? reject(error) : resolve(key.toString('base64url')),
      );
    });
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }
}
