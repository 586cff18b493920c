/** Applications: the tenants. A client secret is shown once and stored as a digest. */
import { digest, randomHex, randomId, randomToken, sameText } from '../base/random.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Writer } from '../storage/storage.ts';

export type Environment = 'sandbox' | 'production';
/** Whether a hold that books keeps its row, or is deleted and recreated under a new id. */
export const PENDING_TRANSITIONS = ['update', 'recreate'] as const;
export type PendingTransition = (typeof PENDING_TRANSITIONS)[number];

export type Application = {
  id: string;
  name: string;
  environment: Environment;
  clientId: string;
  redirectUrl: string | null;
  pendingTransition: PendingTransition;
  clockOffsetMs: number;
  createdAt: number;
};

export type NewApplication = {
  name: string;
  environment: Environment;
  redirectUrl: string | null;
  pendingTransition?: PendingTransition;
};
export type ApplicationCredentials = { id: string; clientId: string; clientSecret: string };

const CLIENT_ID_BYTES = 16;
const CLIENT_SECRET_BYTES = 48;
/** Compared where no application has the id, so that an unknown id takes as long as a wrong secret. */
const NO_DIGEST = digest('');

type ApplicationRow = {
  id: string;
  name: string;
  environment: Environment;
  client_id: string;
  client_secret_digest: string;
  redirect_url: string | null;
  pending_transition: PendingTransition;
  clock_offset_ms: number;
  created_at: number;
};

function fromRow(row: ApplicationRow): Application {
  return {
    id: row.id,
    name: row.name,
    environment: row.environment,
    clientId: row.client_id,
    redirectUrl: row.redirect_url,
    pendingTransition: row.pending_transition,
    clockOffsetMs: row.clock_offset_ms,
    createdAt: row.created_at,
  };
}

/** The answer holds the only copy of the secret. */
export async function createApplication(tx: Writer, application: NewApplication, now: number): Promise<ApplicationCredentials> {
  const id = randomId('app');
  const clientId = randomHex(CLIENT_ID_BYTES);
  const clientSecret = randomToken(CLIENT_SECRET_BYTES);
  await tx.run(sql`
    insert into applications (id, name, environment, client_id, client_secret_digest, redirect_url, pending_transition, created_at)
    values (${id}, ${application.name}, ${application.environment}, ${clientId}, ${digest(clientSecret)}, ${application.redirectUrl},
            ${application.pendingTransition ?? 'update'}, ${now})`);
  await raiseConfigurationVersion(tx);
  return { id, clientId, clientSecret };
}

export async function listApplications(reader: Reader): Promise<Application[]> {
  const rows = await reader.all<ApplicationRow>(sql`select * from applications order by created_at, id`);
  return rows.map(fromRow);
}

export async function findApplication(reader: Reader, id: string): Promise<Application | null> {
  const row = await reader.first<ApplicationRow>(sql`select * from applications where id = ${id}`);
  return row ? fromRow(row) : null;
}

export async function findApplicationByClientId(reader: Reader, clientId: string): Promise<Application | null> {
  const row = await reader.first<ApplicationRow>(sql`select * from applications where client_id = ${clientId}`);
  return row ? fromRow(row) : null;
}

/** From its next refreshes on. False for an application that does not exist. */
export async function setPendingTransition(tx: Writer, applicationId: string, pendingTransition: PendingTransition): Promise<boolean> {
  return (await tx.run(sql`update applications set pending_transition = ${pendingTransition} where id = ${applicationId}`)) === 1;
}

/** The old secret ends with the commit. Null for an application that does not exist. */
export async function rotateSecret(tx: Writer, applicationId: string): Promise<{ clientSecret: string } | null> {
  const clientSecret = randomToken(CLIENT_SECRET_BYTES);
  const changed = await tx.run(sql`update applications set client_secret_digest = ${digest(clientSecret)} where id = ${applicationId}`);
  if (changed === 0) return null;
  await raiseConfigurationVersion(tx);
  return { clientSecret };
}

/** Null where the id is unknown or the secret is wrong; the caller cannot tell which. */
export async function authenticateApplication(reader: Reader, clientId: string, clientSecret: string): Promise<Application | null> {
  const row = await reader.first<ApplicationRow>(sql`select * from applications where client_id = ${clientId}`);
  const matches = sameText(digest(clientSecret), row?.client_secret_digest ?? NO_DIGEST);
  return row && matches ? fromRow(row) : null;
}

/** The application's own time: a sandbox's test clock runs ahead of the real one. */
export function applicationNow(application: Pick<Application, 'clockOffsetMs'>, now: number): number {
  return now + application.clockOffsetMs;
}

/** Running servers notice within a second. */
async function raiseConfigurationVersion(tx: Writer): Promise<void> {
  await tx.run(sql`update configuration set version = version + 1`);
}
