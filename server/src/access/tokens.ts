/** Access tokens of users: two hours, no refresh token, stored as digests (contract, section 3.1). */
import { randomUUID } from 'node:crypto';
import { HOUR_MS } from '../base/clock.ts';
import { digest, randomHex } from '../base/random.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';

export const TOKEN_LIFETIME_MS = 2 * HOUR_MS;
const TOKEN_HEX_BYTES = 20;
/** Refuses other texts before they cost a digest and a query. */
const TOKEN_FORM = /^[0-9a-f]{40}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** `accessToken` is `<40 hex>-<uuid>`; `now` is real time, and so is `expiresAt`. */
export async function issueToken(
  tx: Writer,
  owner: { applicationId: string; userUuid: string },
  now: number,
): Promise<{ accessToken: string; expiresAt: number }> {
  const accessToken = `${randomHex(TOKEN_HEX_BYTES)}-${randomUUID()}`;
  const expiresAt = now + TOKEN_LIFETIME_MS;
  await tx.run(sql`
    insert into access_tokens (digest, application_id, user_uuid, expires_at)
    values (${digest(accessToken)}, ${owner.applicationId}, ${owner.userUuid}, ${expiresAt})`);
  return { accessToken, expiresAt };
}

/** The user behind a token of this application that has not expired. */
export async function findTokenUser(reader: Reader, applicationId: string, accessToken: string, now: number): Promise<string | null> {
  if (!TOKEN_FORM.test(accessToken)) return null;
  const row = await reader.first<{ user_uuid: string }>(sql`
    select user_uuid from access_tokens
    where digest = ${digest(accessToken)} and application_id = ${applicationId} and expires_at > ${now}`);
  return row?.user_uuid ?? null;
}

export async function deleteToken(tx: Writer, accessToken: string): Promise<void> {
  await tx.run(sql`delete from access_tokens where digest = ${digest(accessToken)}`);
}

/** At most `limit` of them; answers how many. */
export async function deleteExpiredTokens(writer: Pick<Writer, 'run'>, now: number, limit: number): Promise<number> {
  return writer.run(
    sql`delete from access_tokens where digest in (select digest from access_tokens where expires_at <= ${now} limit ${limit})`,
  );
}
