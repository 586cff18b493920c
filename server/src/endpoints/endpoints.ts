/** The webhooks of an application: where its events go, which ones, and under which secrets. */
import { randomId } from '../base/random.ts';
import { lockHeads } from '../events/log.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';
import type { Vault } from '../vault/vault.ts';
import type { AddressPolicy } from './addresses.ts';
import { checkChange, checkFields, checkTarget, type EndpointFields, orderedEvents, type Refused } from './fields.ts';
import { forgiveFailures } from './health.ts';
import type { Resolve } from './lookups.ts';
import { issueSecret, type OpenSecret, openSecrets, ROTATION_OVERLAP_MS, readable } from './secrets.ts';
import { DEFAULT_SETTINGS, type EndpointSettings, type ShownSettings } from './settings.ts';
import { changeColumns, NO_COLUMNS, openSettings, type SettingsColumns, shownSettings } from './stored-settings.ts';

/** Contract, section 1.1. */
export const ENDPOINTS_PER_APPLICATION = 10;

/** By its owner, by an answer 410, or after days of failing. */
export type DisabledReason = 'owner' | 'gone' | 'failing';
/** `events` are types of the catalogue, in its order; times are epoch milliseconds. */
export type Endpoint = ShownSettings & {
  id: string;
  applicationId: string;
  name: string;
  url: string;
  events: string[];
  enabled: boolean;
  /** Null while it is enabled. */
  disabledReason: DisabledReason | null;
  disabledAt: number | null;
  createdAt: number;
  updatedAt: number;
};

export type Created = { outcome: 'created'; endpoint: Endpoint; secret: string } | { outcome: 'conflict'; sentence: string } | Refused;
export type Updated = { outcome: 'updated'; endpoint: Endpoint } | { outcome: 'not_found' } | Refused;

/** What an endpoint matched from these lane positions on (exclusive, one per lane). */
export type EndpointVersion = { version: number; events: readonly string[]; from: readonly number[] };
/** All that sending needs; `versions` ascend, `secrets` are newest first. */
export type DeliverableEndpoint = EndpointSettings & {
  id: string;
  applicationId: string;
  url: string;
  enabled: boolean;
  /** For each lane, up to where its owner wants nothing any more; null when that was never said. */
  skipThrough: readonly number[] | null;
  secrets: readonly OpenSecret[];
  versions: readonly EndpointVersion[];
};

/** With `resolve` a new URL's name is looked up, and refused for where it leads; without, the first connection does that. */
type Context = { storage: Storage; vault: Vault; now: number; resolve?: Resolve };

/** Shows the secret this once. */
export async function createEndpoint(
  { storage, vault, now, resolve }: Context,
  applicationId: string,
  fields: EndpointFields,
  policy: AddressPolicy,
): Promise<Created> {
  const refused = checkFields(fields, policy, now) ?? (await checkTarget(fields.url, policy, resolve));
  if (refused) return refused;
  const id = randomId('wh');
  const events = JSON.stringify(orderedEvents(fields.events));
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
          values (${id}, ${applicationId}, ${fields.name}, ${fields.url}, ${events}, 1, ${dataKeyId}, ${now}, ${now})`,
    );
    await writeSettings(tx, id, await changeColumns(tx, vault, { id, dataKeyId }, NO_COLUMNS, fields));
    const endpoint = fromRow((await lockEndpoint(tx, storage, id))!);
    const secret = await issueSecret(tx, vault, { id, dataKeyId }, { now, overlapMs: ROTATION_OVERLAP_MS });
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
  { storage, vault, now, resolve }: Context,
  id: string,
  change: Partial<EndpointFields> & { enabled?: boolean },
  policy: AddressPolicy,
): Promise<Updated> {
  const refused = checkFields(change, policy, now) ?? (await checkTarget(change.url, policy, resolve));
  if (refused) return refused;
  return storage.transaction(async (tx) => {
    const row = await lockEndpoint(tx, storage, id);
    if (!row) return { outcome: 'not_found' };
    const before = fromRow(row);
    const fields = {
      name: change.name ?? before.name,
      url: change.url ?? before.url,
      events: orderedEvents(change.events ?? before.events),
    };
    const hasCertificate = change.clientCertificate === undefined ? before.clientCertificate !== null : change.clientCertificate !== null;
    const unfit = checkChange({ url: fields.url, hasCertificate }, change);
    if (unfit) return unfit;
    const events = JSON.stringify(fields.events);
    const state = enabledState(row, change.enabled, now);
    await tx.run(
      sql`update endpoints set name = ${fields.name}, url = ${fields.url}, events = ${events}, enabled = ${state.enabled},
            disabled_reason = ${state.disabled_reason}, disabled_at = ${state.disabled_at}, updated_at = ${now}
          where id = ${id}`,
    );
    const columns = await changeColumns(tx, vault, { id, dataKeyId: row.data_key_id }, row, change);
    await writeSettings(tx, id, columns);
    const endpoint = fromRow({ ...row, ...columns, ...fields, ...state, events, updated_at: now });
    const version = await raiseConfiguration(tx);
    if (state.enabled > row.enabled || isAnotherReceiver(row, { url: fields.url, ...columns })) await forgiveFailures(tx, id, version);
    if (events !== row.events) await writeVersion(tx, storage, endpoint, true, now);
    return { outcome: 'updated', endpoint };
  });
}

/**
 * Destroys its key; the versions stay, they say what it once matched. What is parked for it may be millions of rows, of which
 * nobody is told any more: upkeep takes them, step by step. False when there is none.
 */
export async function deleteEndpoint({ storage, vault, now }: Context, id: string): Promise<boolean> {
  return storage.transaction(async (tx) => {
    const row = await lockEndpoint(tx, storage, id);
    if (!row) return false;
    await tx.run(sql`update endpoints set deleted_at = ${now}, enabled = 0, updated_at = ${now} where id = ${id}`);
    await tx.run(sql`delete from endpoint_secrets where endpoint_id = ${id}`);
    await vault.destroyKey(tx, row.data_key_id);
    await tx.run(sql`delete from endpoint_health where endpoint_id = ${id}`);
    await raiseConfiguration(tx);
    await writeVersion(tx, storage, fromRow(row), false, now);
    return true;
  });
}

/** The new secret, shown this once; null when there is no such endpoint. The previous one stays valid for `overlapMs`. */
export async function rotateSecret(
  { storage, vault, now }: Context,
  id: string,
  overlapMs: number = ROTATION_OVERLAP_MS,
): Promise<string | null> {
  return storage.transaction(async (tx) => {
    const row = await lockEndpoint(tx, storage, id);
    if (!row) return null;
    const secret = await issueSecret(tx, vault, { id, dataKeyId: row.data_key_id }, { now, overlapMs });
    await raiseConfiguration(tx);
    return secret;
  });
}

/** Turns it off for what its receiver did. In the caller's transaction; answers whether it was on. */
export async function disableEndpoint(tx: Writer, id: string, reason: 'gone' | 'failing', now: number): Promise<boolean> {
  const changed = await tx.run(
    sql`update endpoints set enabled = 0, disabled_reason = ${reason}, disabled_at = ${now}, updated_at = ${now} where id = ${id} and enabled = 1 and deleted_at is null`,
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
  const endpoints: DeliverableEndpoint[] = [];
  for (const row of rows) {
    const settings = await readable(openSettings(storage, vault, { id: row.id, dataKeyId: row.data_key_id }, row));
    endpoints.push({
      ...(settings ?? DEFAULT_SETTINGS),
      id: row.id,
      applicationId: row.application_id,
      url: row.url,
      enabled: row.enabled === 1,
      skipThrough: row.skip_through === null ? null : (JSON.parse(row.skip_through) as number[]),
      // What cannot be read must not be left out of a request: without secrets nothing is sent, and its attempts say so.
      secrets: settings === null ? [] : (secrets.get(row.id) ?? []),
      versions: (byEndpoint.get(row.id) ?? []).map((version) => ({
        version: version.version,
        events: JSON.parse(version.events) as string[],
        from: JSON.parse(version.from_positions) as number[],
      })),
    });
  }
  return { configurationVersion: configuration?.version ?? 0, endpoints };
}

type EnabledState = { enabled: number; disabled_reason: DisabledReason | null; disabled_at: number | null };
type EndpointRow = SettingsColumns &
  EnabledState & {
    id: string;
    application_id: string;
    name: string;
    url: string;
    events: string;
    data_key_id: string;
    skip_through: string | null;
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
    disabledReason: row.disabled_reason,
    disabledAt: row.disabled_at,
    ...shownSettings(row),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** One that is off already keeps why and since when. */
function enabledState(row: EndpointRow, enabled: boolean | undefined, now: number): EnabledState {
  if (enabled === undefined || enabled === (row.enabled === 1)) {
    // These three alone: a whole row would take the place of what else is changed.
    const { enabled: before, disabled_reason, disabled_at } = row;
    return { enabled: before, disabled_reason, disabled_at };
  }
  return enabled ? { enabled: 1, disabled_reason: null, disabled_at: null } : { enabled: 0, disabled_reason: 'owner', disabled_at: now };
}

type ReceiverColumns = Pick<EndpointRow, 'url' | 'custom_headers' | 'client_certificate' | 'encryption'>;

/** One that asked for a pause, or refused, may do neither where it is asked otherwise. */
function isAnotherReceiver(before: ReceiverColumns, after: ReceiverColumns): boolean {
  const columns = ['url', 'custom_headers', 'client_certificate', 'encryption'] as const;
  return columns.some((column) => before[column] !== after[column]);
}

async function writeSettings(tx: Writer, id: string, columns: SettingsColumns): Promise<void> {
  await tx.run(
    sql`update endpoints set ordering = ${columns.ordering}, concurrency_max = ${columns.concurrency_max}, rate_per_s = ${columns.rate_per_s},
          deadline_ms = ${columns.deadline_ms}, retry_delays_ms = ${columns.retry_delays_ms}, silent_after_ms = ${columns.silent_after_ms},
          custom_headers = ${columns.custom_headers}, client_certificate = ${columns.client_certificate}, encryption = ${columns.encryption}
        where id = ${id}`,
  );
}

function lockEndpoint(tx: Writer, storage: Storage, id: string): Promise<EndpointRow | undefined> {
  return tx.first<EndpointRow>(sql`select * from endpoints where id = ${id} and deleted_at is null${storage.forUpdate}`);
}

/** Running servers notice within a second. Answers the new version. */
export async function raiseConfiguration(tx: Writer): Promise<number> {
  return (await tx.first<{ version: number }>(sql`update configuration set version = version + 1 returning version`))!.version;
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
