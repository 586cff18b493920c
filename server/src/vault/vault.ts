/**
 * Secrets at rest: envelope encryption with AES-256-GCM. Each item and each endpoint has a random data key; data keys
 * are stored wrapped by the operator's key. Associated data ties a blob to its place, so that it cannot be moved to another row.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { randomId } from '../base/random.ts';
import { sql, sqlTable } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';

/** NIST SP 800-38D: 96-bit nonces for GCM, random, far below 2^32 uses per key. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
/** Unwrapped data keys kept in memory. */
const KEYS_KEPT = 10_000;
const REWRAP_BATCH = 500;
/** 132 bits. */
const FINGERPRINT_CHARACTERS = 22;

/** Where a blob lives: it opens only there. */
export type Place = { table: string; column: string; id: string | number };
export type WrappingKey = { id: string; key: Buffer };

/** `current` wraps new data keys; every key of `all` unwraps. Called again when an unknown key id is met. */
export type KeyRing = () => { current: WrappingKey; all: readonly WrappingKey[] };

export class SecretUnreadable extends Error {}

export type Vault = {
  /** Makes a data key, in the transaction that makes its row. */
  createKey(tx: Writer, now: number): Promise<string>;
  destroyKey(tx: Writer, dataKeyId: string): Promise<void>;
  /** Reads these data keys in one question, so that what is opened next asks none of its own; those that are gone are left out. */
  load(reader: Reader, dataKeyIds: readonly string[]): Promise<void>;
  seal(reader: Reader, dataKeyId: string, place: Place, text: string): Promise<string>;
  /** Throws {@link SecretUnreadable} where the key is gone or the blob is not of this place. */
  open(reader: Reader, dataKeyId: string, place: Place, sealed: string): Promise<string>;
  /** A keyed digest: tells whether two texts under one data key are the same, and nothing else. Gone with the key. */
  fingerprint(reader: Reader, dataKeyId: string, text: string): Promise<string>;
  /** Wraps again every data key that another than the current key wrapped; answers how many. Safe while servers run. */
  rewrap(storage: Storage): Promise<number>;
};

/** Turns the operator's secret (at least 32 characters of randomness) into a wrapping key with a public id. */
export function deriveWrappingKey(secret: string): WrappingKey {
  const key = Buffer.from(hkdfSync('sha256', secret, 'pontage', 'wrapping key', KEY_BYTES));
  return { key, id: createHash('sha256').update('id').update(key).digest('hex').slice(0, 12) };
}

type KeyRow = { id: string; wrapped: string; wrapping_key_id: string };
const wantedTable = sqlTable({ key_id: 'text' });

export function createVault(ring: KeyRing): Vault {
  const unwrapped = new Map<string, Buffer>();

  function wrappingKey(id: string): Buffer {
    const found = ring().all.find((candidate) => candidate.id === id);
    if (!found) throw new SecretUnreadable(`a data key is wrapped by key ${id}, which is not configured: add it to PONTAGE_SECRET_KEY`);
    return found.key;
  }

  async function readKeys(reader: Reader, ids: readonly string[]): Promise<KeyRow[]> {
    return reader.all<KeyRow>(
      sql`select id, wrapped, wrapping_key_id from data_keys where id in (select key_id from ${wantedTable(ids.map((id) => ({ key_id: id })))} as wanted)`,
    );
  }

  function keep({ id, wrapped, wrapping_key_id }: KeyRow): Buffer {
    const key = decrypt(wrappingKey(wrapping_key_id), `data_keys/${id}`, wrapped);
    if (unwrapped.size >= KEYS_KEPT) unwrapped.clear();
    unwrapped.set(id, key);
    return key;
  }

  async function dataKey(reader: Reader, id: string): Promise<Buffer> {
    const kept = unwrapped.get(id);
    if (kept) return kept;
    const [row] = await readKeys(reader, [id]);
    if (!row) throw new SecretUnreadable(`the data key ${id} has been destroyed`);
    return keep(row);
  }

  return {
    async createKey(tx, now) {
      const id = randomId('key');
      const key = randomBytes(KEY_BYTES);
      const { current } = ring();
      await tx.run(
        sql`insert into data_keys (id, wrapped, wrapping_key_id, created_at) values (${id}, ${encrypt(current.key, `data_keys/${id}`, key)}, ${current.id}, ${now})`,
      );
      unwrapped.set(id, key);
      return id;
    },
    async destroyKey(tx, dataKeyId) {
      await tx.run(sql`delete from data_keys where id = ${dataKeyId}`);
      unwrapped.delete(dataKeyId);
    },
    async load(reader, dataKeyIds) {
      const unknown = dataKeyIds.filter((id) => !unwrapped.has(id));
      if (unknown.length === 0) return;
      for (const row of await readKeys(reader, unknown)) {
        try {
          keep(row);
        } catch (error) {
          // One that cannot be unwrapped is told of by whoever opens something with it, and is nobody else's trouble.
          if (!(error instanceof SecretUnreadable)) throw error;
        }
      }
    },
    async seal(reader, dataKeyId, place, text) {
      return encrypt(await dataKey(reader, dataKeyId), path(place), Buffer.from(text));
    },
    async open(reader, dataKeyId, place, sealed) {
      return decrypt(await dataKey(reader, dataKeyId), path(place), sealed).toString();
    },
    async fingerprint(reader, dataKeyId, text) {
      const key = Buffer.from(hkdfSync('sha256', await dataKey(reader, dataKeyId), '', 'fingerprint', KEY_BYTES));
      return createHmac('sha256', key).update(text).digest('base64url').slice(0, FINGERPRINT_CHARACTERS);
    },
    async rewrap(storage) {
      let rewrapped = 0;
      for (;;) {
        const { current } = ring();
        const done = await storage.transaction(async (tx) => {
          const rows = await tx.all<KeyRow>(
            sql`select id, wrapped, wrapping_key_id from data_keys where wrapping_key_id <> ${current.id} limit ${REWRAP_BATCH}`,
          );
          for (const row of rows) {
            const place = `data_keys/${row.id}`;
            const wrapped = encrypt(current.key, place, decrypt(wrappingKey(row.wrapping_key_id), place, row.wrapped));
            await tx.run(sql`update data_keys set wrapped = ${wrapped}, wrapping_key_id = ${current.id} where id = ${row.id}`);
          }
          return rows.length;
        });
        rewrapped += done;
        if (done < REWRAP_BATCH) return rewrapped;
      }
    },
  };
}

function path({ table, column, id }: Place): string {
  return `${table}/${column}/${id}`;
}

function encrypt(key: Buffer, associated: string, plain: Buffer): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.from(associated));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return `v1.${Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64url')}`;
}

function decrypt(key: Buffer, associated: string, sealed: string): Buffer {
  const bytes = Buffer.from(sealed.slice(3), 'base64url');
  if (!sealed.startsWith('v1.') || bytes.length < NONCE_BYTES + TAG_BYTES) throw new SecretUnreadable('a sealed value has an unknown form');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES));
  decipher.setAAD(Buffer.from(associated));
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES)), decipher.final()]);
  } catch {
    throw new SecretUnreadable('a sealed value does not belong to its row, or was changed');
  }
}
