/** The webhooks of an application: where its events go, which ones, and under which secrets. */
import { randomId } from '../base/random.ts';
import { SUBSCRIBABLE_TYPES } from '../events/catalogue.ts';
import { lockHeads } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';
import type { Vault } from '../vault/vault.ts';
import type { AddressPolicy } from './addresses.ts';
import { checkUrl } from './guard.ts';
import { issueSecret, type OpenSecret, openSecrets } from './secrets.ts';

/** Contract, section 1.1. */
export const ENDPOINTS_PER_APPLICATION = 10;
const NAME_CHARACTERS_MAX = 200;

/** `events` are types of the catalogue, in its order; times are epoch milliseconds. */
export type Endpoint = {
  id: string;
  applicationId: string;
  name: string;
  url: string;
  events: string[];
  enabled: boolean;
  createdAt: number;
  updatedAt: number;
};

export type EndpointFields = { name: string; url: string; events: readonly string[] };
export type Refused = { outcome: 'invalid'; field: 'name' | 'url' | 'events'; sentence: string };
export type Created = { outcome: 'created'; endpoint: Endpoint; secret: string } | { outcome: 'conflict'; sentence: string } | Refused;
export type Updated = { outcome: 'updated'; endpoint: Endpoint } | { outcome: 'not_found' } | Refused;

/** What an endpoint matched from these lane positions on (exclusive, one per lane). */
export type EndpointVersion = { version: number; events: readonly string[]; from: readonly number[] };
/** All that sending needs; `versions` ascend, `secrets` are newest first. */
export type DeliverableEndpoint = {
  id: string;
  applicationId: string;
  url: string;
  enabled: boolean;
  secrets: readonly OpenSecret[];
  versions: readonly EndpointVersion[];
};

type Context = { storage: Storage; vault: Vault; now: number };

/** Shows the secret this once. */
export async function createEndpoint(
  { storage, vault, now }: Context,
  applicationId: string,
  fields: EndpointFields,
  policy: AddressPolicy,
): Promise<Created> {
  const refused = check(fields, policy);
  if (refused) return refused;
  const events = ordered(fields.events);
  const endpoint = {
    id: randomId('wh'),
    applicationId,
    name: fields.name,
    url: fields.url,
    events,
    enabled: true,
    createdAt: now,
    updatedAt: now,
  };
  return storage.transaction(async (tx) => {
    // The application's row is locked, so that two creations cannot both be the tenth.
    await tx.first(sql`select id from applications where id = ${applicationId}${storage.forUpdate}`);
    const live = await tx.first<{ count: number }>(
      sql`select count(*) as count from endpoints where application_id = ${applicationId} and deleted_at is null`,
    );
    if (live && live.count >= ENDPOINTS_PER_APPLICATION) {
      const sentence = `An application has at most ${ENDPOINTS_PER_APPLICATION} webhooks: delete one first.`;
      return { outcome: 'conflict', sentence };
    }
    const dataKeyId = await vault.createKey(tx, now);
    await tx.run(
      sql`insert into endpoints (id, application_id, name, url, events, enabled, data_key_id, created_at, updated_at)
          values (${endpoint.id}, ${applicationId}, ${endpoint.name}, ${endpoint.url}, ${JSON.stringify(events)}, 1, ${dataKeyId}, ${now}, ${now})`,
    );
    const secret = await issueSecret(tx, vault, { id: endpoint.id, dataKeyId }, now);
    await raiseConfiguration(tx);
    await writeVersion(tx, storage, endpoint, true, now);
    return { outcome: 'created', endpoint, secret };
  });
}

/** Live endpoints, oldest first: of one application, or of all. */
export async function listEndpoints(reader: Reader, applicationId: string | null): Promise<Endpoint[]> {
  const rows = await reader.all<EndpointRow>(
    applicationId === null
      ? sql`select * from endpoints where deleted_at is null order by created_at, id`
      : sql`select * from endpoints where application_id = ${applicationId} and deleted_at is null order by created_at, id`,
  );
  return rows.map(fromRow);
}

export async function findEndpoint(reader: Reader, id: string): Promise<Endpoint | undefined> {
  const row = await reader.first<EndpointRow>(sql`select * from endpoints where id = ${id} and deleted_at is null`);
  return row && fromRow(row);
}

/** Changes what is given. Disabling changes delivery, not membership: only a new filter makes a version. */
export async function updateEndpoint(
  { storage, now }: Context,
  id: string,
  change: Partial<EndpointFields> & { enabled?: boolean },
  policy: AddressPolicy,
): Promise<Updated> {
  return storage.transaction(async (tx) => {
    const row = await lockEndpoint(tx, storage, id);
    if (!row) return { outcome: 'not_found' };
    const before = fromRow(row);
    const fields = { name: change.name ?? before.name, url: change.url ?? before.url, events: ordered(change.events ?? before.events) };
    const refused = check({ ...fields, events: change.events ?? before.events }, policy);
    if (refused && refused.field in change) return refused;
    const endpoint = { ...before, ...fields, enabled: change.enabled ?? before.enabled, updatedAt: now };
    const events = JSON.stringify(endpoint.events);
    await tx.run(
      sql`update endpoints set name = ${endpoint.name}, url = ${endpoint.url}, events = ${events}, enabled = ${endpoint.enabled ? 1 : 0}, updated_at = ${now}
          where id = ${id}`,
    );
    await raiseConfiguration(tx);
    if (events !== row.events) await writeVersion(tx, storage, endpoint, true, now);
    return { outcome: 'updated', endpoint };
  });
}

/** Destroys its key and what is parked for it; the versions stay, they say what it once matched. False when there is none. */
export async function deleteEndpoint({ storage, vault, now }: Context, id: string): Promise<boolean> {
  return storage.transaction(async (tx) => {
    const row = await lockEndpoint(tx, storage, id);
    if (!row) return false;
    await tx.run(sql`update endpoints set deleted_at = ${now}, enabled = 0, updated_at = ${now} where id = ${id}`);
    await tx.run(sql`delete from endpoint_secrets where endpoint_id = ${id}`);
    await vault.destroyKey(tx, row.data_key_id);
    await tx.run(sql`delete from parked where endpoint_id = ${id}`);
    await raiseConfiguration(tx);
    await writeVersion(tx, storage, fromRow(row), false, now);
    return true;
  });
}

/** The new secret, shown this once; null when there is no such endpoint. The previous one stays valid for 24 h. */
export async function rotateSecret({ storage, vault, now }: Context, id: string): Promise<string | null> {
  return storage.transaction(async (tx) => {
    const row = await lockEndpoint(tx, storage, id);
    if (!row) return null;
    const secret = await issueSecret(tx, vault, { id, dataKeyId: row.data_key_id }, now);
    await raiseConfiguration(tx);
    return secret;
  });
}

/** Turns it off after an answer 410. In the caller's transaction; answers whether it was on. */
export async function disableEndpoint(tx: Writer, id: string, now: number): Promise<boolean> {
  const changed = await tx.run(
    sql`update endpoints set enabled = 0, updated_at = ${now} where id = ${id} and enabled = 1 and deleted_at is null`,
  );
  if (changed > 0) await raiseConfiguration(tx);
  return changed > 0;
}

/**
 * Every live endpoint, ready to send, with the configuration version it is at least as new as: the version is read
 * first, so a change that falls between the statements is met again by the next comparison.
 */
export async function loadEndpoints({
  storage,
  vault,
  now,
}: Context): Promise<{ configurationVersion: number; endpoints: DeliverableEndpoint[] }> {
  const configuration = await storage.first<{ version: number }>(sql`select version from configuration`);
  const rows = await storage.all<EndpointRow>(sql`select * from endpoints where deleted_at is null order by created_at, id`);
  const secrets = await openSecrets(storage, vault, now);
  const versions = await storage.all<{ endpoint_id: string; version: number; events: string; from_positions: string }>(
    sql`select v.endpoint_id, v.version, v.events, v.from_positions from endpoint_versions v join endpoints e on e.id = v.endpoint_id
        where e.deleted_at is null order by v.endpoint_id, v.version`,
  );
  const byEndpoint = Map.groupBy(versions, (row) => row.endpoint_id);
  const endpoints = rows.map((row) => ({
    id: row.id,
    applicationId: row.application_id,
    url: row.url,
    enabled: row.enabled === 1,
    secrets: secrets.get(row.id) ?? [],
    versions: (byEndpoint.get(row.id) ?? []).map((version) => ({
      version: version.version,
      events: JSON.parse(version.events) as string[],
      from: JSON.parse(version.from_positions) as number[],
    })),
  }));
  return { configurationVersion: configuration?.version ?? 0, endpoints };
}

type EndpointRow = {
  id: string;
  application_id: string;
  name: string;
  url: string;
  events: string;
  enabled: number;
  data_key_id: string;
  created_at: number;
  updated_at: number;
};

function fromRow(row: EndpointRow): Endpoint {
  return {
    id: row.id,
    applicationId: row.application_id,
    name: row.name,
    url: row.url,
    events: JSON.parse(row.events) as string[],
    enabled: row.enabled === 1,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function lockEndpoint(tx: Writer, storage: Storage, id: string): Promise<EndpointRow | undefined> {
  return tx.first<EndpointRow>(sql`select * from endpoints where id = ${id} and deleted_at is null${storage.forUpdate}`);
}

async function raiseConfiguration(tx: Writer): Promise<void> {
  await tx.run(sql`update configuration set version = version + 1`);
}

/** The last statements of its transaction: the heads stay locked until the commit, so nothing is committed between them and it. */
async function writeVersion(tx: Writer, storage: Storage, endpoint: Endpoint, matching: boolean, now: number): Promise<void> {
  const heads = await lockHeads(tx, storage.forUpdate);
  const events = JSON.stringify(endpoint.events);
  await tx.run(
    sql`insert into endpoint_versions (endpoint_id, version, application_id, events, matching, from_positions, created_at)
        select ${endpoint.id}, coalesce(max(version), 0) + 1, ${endpoint.applicationId}, ${events}, cast(${matching ? 1 : 0} as bigint), ${JSON.stringify(heads)}, cast(${now} as bigint)
        from endpoint_versions where endpoint_id = ${endpoint.id}`,
  );
}

function check(fields: EndpointFields, policy: AddressPolicy): Refused | null {
  const url = checkUrl(fields.url, policy);
  if (!url.ok) return { outcome: 'invalid', field: 'url', sentence: url.sentence };
  const name = fields.name.trim();
  if (name === '' || name.length > NAME_CHARACTERS_MAX) {
    return { outcome: 'invalid', field: 'name', sentence: `The name must have 1 to ${NAME_CHARACTERS_MAX} characters.` };
  }
  const known: readonly string[] = SUBSCRIBABLE_TYPES;
  const unknown = fields.events.find((type) => !known.includes(type));
  const types = SUBSCRIBABLE_TYPES.join(', ');
  if (unknown !== undefined) {
    return { outcome: 'invalid', field: 'events', sentence: `There is no event type "${unknown}": choose of ${types}.` };
  }
  if (fields.events.length === 0) return { outcome: 'invalid', field: 'events', sentence: `Choose at least one event type of ${types}.` };
  return null;
}

/** In the order of the catalogue and without repeats, so that equal filters are equal texts. */
function ordered(events: readonly string[]): string[] {
  return SUBSCRIBABLE_TYPES.filter((type) => events.includes(type));
}
