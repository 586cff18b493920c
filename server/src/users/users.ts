/** Users of an application: anonymous, named by the application's own id, or of the old form with email and password. */
import { randomUUID } from 'node:crypto';
import { sql } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';

export type User = {
  uuid: string;
  applicationId: string;
  externalUserId: string | null;
  email: string | null;
  passwordDigest: string | null;
};

/** How a user may be named: by exactly one of these. */
export type UserName = { userUuid: string } | { externalUserId: string } | { email: string };

export type NewUser = {
  applicationId: string;
  identity: { kind: 'none' } | { kind: 'external'; externalUserId: string } | { kind: 'email'; email: string; passwordDigest: string };
};

type UserRow = {
  uuid: string;
  application_id: string;
  external_user_id: string | null;
  email: string | null;
  password_digest: string | null;
};

function fromRow(row: UserRow): User {
  return {
    uuid: row.uuid,
    applicationId: row.application_id,
    externalUserId: row.external_user_id,
    email: row.email,
    passwordDigest: row.password_digest,
  };
}

/** Null where the application already has a user of this email or external id. */
export async function createUser(tx: Writer, user: NewUser, now: number): Promise<User | null> {
  const { identity } = user;
  const row = await tx.first<UserRow>(sql`
    insert into users (uuid, application_id, external_user_id, email, password_digest, created_at)
    values (${randomUUID()}, ${user.applicationId}, ${identity.kind === 'external' ? identity.externalUserId : null},
      ${identity.kind === 'email' ? identity.email : null}, ${identity.kind === 'email' ? identity.passwordDigest : null}, ${now})
    on conflict do nothing returning *`);
  return row ? fromRow(row) : null;
}

export async function findUser(reader: Reader, applicationId: string, name: UserName): Promise<User | null> {
  const condition =
    'userUuid' in name
      ? sql`uuid = ${name.userUuid}`
      : 'email' in name
        ? sql`email = ${name.email}`
        : sql`external_user_id = ${name.externalUserId}`;
  const row = await reader.first<UserRow>(sql`select * from users where application_id = ${applicationId} and ${condition}`);
  return row ? fromRow(row) : null;
}

/** Whether the user is there, and stays until this transaction ends: an erasure comes before or after it, never between. */
export async function holdUser(tx: Writer, locks: Pick<Storage, 'forUpdate'>, applicationId: string, userUuid: string): Promise<boolean> {
  const row = await tx.first(sql`select uuid from users where uuid = ${userUuid} and application_id = ${applicationId}${locks.forUpdate}`);
  return row !== undefined;
}

/** By uuid descending, after the one given; at most `limit`. */
export async function listUsers(reader: Reader, options: { applicationId: string; after: string | null; limit: number }): Promise<User[]> {
  const beyond = options.after === null ? sql`` : sql`and uuid < ${options.after}`;
  const rows = await reader.all<UserRow>(
    sql`select * from users where application_id = ${options.applicationId} ${beyond} order by uuid desc limit ${options.limit}`,
  );
  return rows.map(fromRow);
}
