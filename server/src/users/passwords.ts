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

/**
 * `scrypt$<cost>$<block size>$<parallelization>$<salt>$<key>`, the last two in base64url. `owner` is whose turn it takes: the
 * owners that wait have one after another, so that none waits for all that another has asked for.
 */
export async function hashPassword(password: string, owner: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES).toString('base64url');
  const key = await derive(owner, password, salt, COST, BLOCK_SIZE, PARALLELIZATION);
  return `scrypt$${COST}$${BLOCK_SIZE}$${PARALLELIZATION}$${salt}$${key}`;
}

/** Takes as long for a user without a password (null) as for a wrong one. `owner` as in {@link hashPassword}. */
export async function passwordMatches(password: string, stored: string | null, owner: string): Promise<boolean> {
  const [, cost, blockSize, parallelization, salt, key] = stored?.split('$') ?? [];
  const derived = await derive(
    owner,
    password,
    salt ?? '',
    Number(cost ?? COST),
    Number(blockSize ?? BLOCK_SIZE),
    Number(parallelization ?? PARALLELIZATION),
  );
  return key !== undefined && sameText(derived, key);
}

let running = 0;
/** By owner; the first of the map has the next turn. */
const waiting = new Map<string, (() => void)[]>();

async function derive(
  owner: string,
  password: string,
  salt: string,
  cost: number,
  blockSize: number,
  parallelization: number,
): Promise<string> {
  if (running >= AT_ONCE) await turnOf(owner);
  else running += 1;
  try {
    return await new Promise((resolve, reject) => {
      scrypt(password, salt, KEY_BYTES, { N: cost, r: blockSize, p: parallelization }, (error, key) =>
        error ? reject(error) : resolve(key.toString('base64url')),
      );
    });
  } finally {
    giveTurn();
  }
}

function turnOf(owner: string): Promise<void> {
  return new Promise((resolve) => {
    const before = waiting.get(owner);
    if (before) before.push(resolve);
    else waiting.set(owner, [resolve]);
  });
}

function giveTurn(): void {
  const next = waiting.entries().next().value;
  if (!next) {
    running -= 1;
    return;
  }
  const [owner, turns] = next;
  const turn = turns.shift()!;
  // Behind the others, with what it still asks for.
  waiting.delete(owner);
  if (turns.length > 0) waiting.set(owner, turns);
  turn();
}
