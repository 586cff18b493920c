/** Signing secrets of endpoints: `whsec_` and base64 of 32 random bytes, sealed at rest, at most two alive. */
import { randomBytes } from 'node:crypto';
import { DAY_MS, HOUR_MS } from '../base/clock.ts';
import { randomId } from '../base/random.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';
import { SecretUnreadable, type Vault } from '../vault/vault.ts';

const SECRET_BYTES = 32;
/** Contract, section 1.1: after a rotation the previous secret stays valid this long. */
export const ROTATION_OVERLAP_MS = 24 * HOUR_MS;
/** Two secrets are twice the places to lose one: a week is long enough to change a receiver. */
export const ROTATION_OVERLAP_MS_MAX = 7 * DAY_MS;

/** `expiresAt` (epoch ms) is null for the newest. */
export type OpenSecret = { secret: string; expiresAt: number | null };

/** Makes the newest secret; the one before it expires after `overlapMs`, any older one at once. Answers its text. */
export async function issueSecret(
  tx: Writer,
  vault: Vault,
  endpoint: { id: string; dataKeyId: string },
  { now, overlapMs }: { now: number; overlapMs: number },
): Promise<string> {
  await tx.run(sql`delete from endpoint_secrets where endpoint_id = ${endpoint.id} and expires_at is not null`);
  await tx.run(sql`update endpoint_secrets set expires_at = ${now + overlapMs} where endpoint_id = ${endpoint.id} and expires_at is null`);
  const id = randomId('sec');
  const secret = `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
  const sealed = await vault.seal(tx, endpoint.dataKeyId, place(id), secret);
  await tx.run(
    sql`insert into endpoint_secrets (id, endpoint_id, sealed, created_at, expires_at) values (${id}, ${endpoint.id}, ${sealed}, ${now}, ${null})`,
  );
  return secret;
}

type SecretRow = { id: string; endpoint_id: string; sealed: string; expires_at: number | null; data_key_id: string };

/**
 * Secrets alive at `now`, newest first, by endpoint. One that cannot be read is left out: deliveries of its endpoint fail
 * and say so, those of others go on.
 */
export async function openSecrets(reader: Reader, vault: Vault, now: number): Promise<Map<string, OpenSecret[]>> {
  const rows = await reader.all<SecretRow>(
    sql`select s.id, s.endpoint_id, s.sealed, s.expires_at, e.data_key_id
        from endpoint_secrets s join endpoints e on e.id = s.endpoint_id
        where e.deleted_at is null and (s.expires_at is null or s.expires_at > ${now})
        order by s.endpoint_id, case when s.expires_at is null then 0 else 1 end, s.expires_at desc`,
  );
  const byEndpoint = new Map<string, OpenSecret[]>();
  for (const row of rows) {
    const secret = await readable(vault.open(reader, row.data_key_id, place(row.id), row.sealed));
    if (secret === null) continue;
    const secrets = byEndpoint.get(row.endpoint_id);
    if (secrets) secrets.push({ secret, expiresAt: row.expires_at });
    else byEndpoint.set(row.endpoint_id, [{ secret, expiresAt: row.expires_at }]);
  }
  return byEndpoint;
}

/** Null for what cannot be read with the keys there are. */
export async function readable<T>(opening: Promise<T>): Promise<T | null> {
  try {
    return await opening;
  } catch (error) {
    if (error instanceof SecretUnreadable) return null;
    throw error;
  }
}

function place(id: string) {
  return { table: 'endpoint_secrets', column: 'sealed', id };
}
