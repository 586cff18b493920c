/** Where the wrapping keys come from: the environment, or a file in the data folder that the development mode makes. */
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Config, keyFile, OperatorError, secretKeyFault } from './config.ts';
import { sql } from './storage/sql.ts';
import type { Reader } from './storage/storage.ts';
import { deriveWrappingKey, type KeyRing, type WrappingKey } from './vault/vault.ts';

const GENERATED_KEY_BYTES = 32;
/** Derived keys are kept by their secret: deriving again at each use would cost more than the use. */
const derived = new Map<string, WrappingKey>();

function derive(secret: string): WrappingKey {
  const known = derived.get(secret) ?? deriveWrappingKey(secret);
  derived.set(secret, known);
  return known;
}

/** One key per line, the first is the current one; empty where there is no file. */
export function readKeyFile(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new OperatorError(`The key file ${file} cannot be read: ${(error as Error).message}`);
  }
  const keys = text.split('\n').map((line) => line.trim());
  const used = keys.filter((line) => line !== '');
  const fault = used.length === 0 ? 'is empty' : used.map(secretKeyFault).find((found) => found !== null);
  if (fault) throw new OperatorError(`A key in ${file} ${fault}. Restore the file: without it what was sealed cannot be read.`);
  return used;
}

/** Puts a new key before those that are there, which stay: what is not wrapped again yet, and backups, need them. */
export function prependKey(file: string): void {
  const key = randomBytes(GENERATED_KEY_BYTES).toString('base64url');
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const before = readKeyFile(file);
  const next = `${file}.${randomBytes(8).toString('hex')}`;
  writeFileSync(next, `${[key, ...before].join('\n')}\n`, { mode: 0o600, flush: true });
  if (before.length > 0) renameSync(next, file);
  else makeFirst(next, file);
}

/** Of two processes that start for the first time at once, one makes the file and both use it. */
function makeFirst(next: string, file: string): void {
  try {
    linkSync(next, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(next);
  }
}

/** Reads the file again at each call, so that a running server meets a rotated key. */
export function createKeyRing(config: Config): KeyRing {
  return () => {
    const [current, ...others] = [...config.secretKeys, ...readKeyFile(keyFile(config))].map(derive);
    if (!current) throw new OperatorError(`There is no secret key: set PONTAGE_SECRET_KEY, or restore ${keyFile(config)}.`);
    return { current, all: [current, ...others] };
  };
}

/**
 * Makes the key of a new data folder. Where the database already holds sealed values and no key is at hand, or a key is
 * missing, says so: a new key would only hide the loss. Throws {@link OperatorError}.
 */
export async function ensureKeys(config: Config, reader: Reader): Promise<void> {
  const used = await reader.all<{ wrapping_key_id: string }>(sql`select distinct wrapping_key_id from data_keys`);
  const file = keyFile(config);
  if (config.secretKeys.length === 0 && readKeyFile(file).length === 0) {
    if (used.length > 0) {
      throw new OperatorError(`The database holds sealed values, but there is no key: set PONTAGE_SECRET_KEY, or restore ${file}.`);
    }
    prependKey(file);
  }
  const known = createKeyRing(config)().all.map(({ id }) => id);
  const missing = used.filter(({ wrapping_key_id: id }) => !known.includes(id)).map(({ wrapping_key_id: id }) => id);
  if (missing.length > 0) {
    throw new OperatorError(
      `Values in the database are sealed under ${missing.length === 1 ? 'a key' : 'keys'} that ${missing.length === 1 ? 'is' : 'are'} not configured (${missing.join(', ')}): add it to PONTAGE_SECRET_KEY after the current one, separated by a comma.`,
    );
  }
}
