/** The settings of an endpoint in its row: what is secret lies sealed, what may be shown lies in clear. */
import type { Reader } from '../storage/storage.ts';
import type { Vault } from '../vault/vault.ts';
import { type ClientCertificate, summarize } from './certificate.ts';
import type { Encryption } from './encryption.ts';
import type { CustomHeader } from './headers.ts';
import type { EndpointSettings, PlainSettings, ShownSettings } from './settings.ts';

/** The columns of an endpoint's row that hold them. */
export type SettingsColumns = {
  ordering: 'item' | 'none';
  concurrency_max: number | null;
  rate_per_s: number | null;
  deadline_ms: number | null;
  retry_delays_ms: string | null;
  silent_after_ms: number | null;
  /** JSON: names in clear, each value sealed. */
  custom_headers: string | null;
  /** JSON: the certificate in clear, its key sealed. */
  client_certificate: string | null;
  encryption: string | null;
};
type Owner = { id: string; dataKeyId: string };

/** The columns after `change`; what is not given stays as it is in `before`. */
export async function changeColumns(
  reader: Reader,
  vault: Vault,
  owner: Owner,
  before: SettingsColumns,
  change: Partial<EndpointSettings>,
): Promise<SettingsColumns> {
  const { customHeaders, clientCertificate } = change;
  return {
    ordering: change.ordering ?? before.ordering,
    concurrency_max: change.concurrencyMax === undefined ? before.concurrency_max : change.concurrencyMax,
    rate_per_s: change.ratePerS === undefined ? before.rate_per_s : change.ratePerS,
    deadline_ms: change.deadlineMs === undefined ? before.deadline_ms : change.deadlineMs,
    retry_delays_ms: change.retryDelaysMs === undefined ? before.retry_delays_ms : asJson(change.retryDelaysMs),
    silent_after_ms: change.silentAfterMs === undefined ? before.silent_after_ms : change.silentAfterMs,
    custom_headers: customHeaders === undefined ? before.custom_headers : await sealHeaders(reader, vault, owner, customHeaders),
    client_certificate:
      clientCertificate === undefined ? before.client_certificate : await sealCertificate(reader, vault, owner, clientCertificate),
    encryption: change.encryption === undefined ? before.encryption : asJson(change.encryption),
  };
}

export const NO_COLUMNS: SettingsColumns = {
  ordering: 'item',
  concurrency_max: null,
  rate_per_s: null,
  deadline_ms: null,
  retry_delays_ms: null,
  silent_after_ms: null,
  custom_headers: null,
  client_certificate: null,
  encryption: null,
};

export function shownSettings(row: SettingsColumns): ShownSettings {
  const certificate = row.client_certificate === null ? null : (JSON.parse(row.client_certificate) as ClientCertificate);
  return {
    ...plainSettings(row),
    customHeaderNames: sealedHeaders(row).map(([name]) => name),
    clientCertificate: certificate && summarize(certificate.certificate),
  };
}

/** Throws `SecretUnreadable`. */
export async function openSettings(reader: Reader, vault: Vault, owner: Owner, row: SettingsColumns): Promise<EndpointSettings> {
  const customHeaders: CustomHeader[] = [];
  for (const [name, sealed] of sealedHeaders(row)) {
    customHeaders.push([name, await vault.open(reader, owner.dataKeyId, headerPlace(owner, name), sealed)]);
  }
  const stored = row.client_certificate === null ? null : (JSON.parse(row.client_certificate) as ClientCertificate);
  const clientCertificate = stored && {
    certificate: stored.certificate,
    key: await vault.open(reader, owner.dataKeyId, certificatePlace(owner), stored.key),
  };
  return { ...plainSettings(row), customHeaders, clientCertificate };
}

function plainSettings(row: SettingsColumns): PlainSettings {
  return {
    ordering: row.ordering,
    concurrencyMax: row.concurrency_max,
    ratePerS: row.rate_per_s,
    deadlineMs: row.deadline_ms,
    retryDelaysMs: row.retry_delays_ms === null ? null : (JSON.parse(row.retry_delays_ms) as number[]),
    silentAfterMs: row.silent_after_ms,
    encryption: row.encryption === null ? null : (JSON.parse(row.encryption) as Encryption),
  };
}

async function sealHeaders(reader: Reader, vault: Vault, owner: Owner, headers: readonly CustomHeader[]): Promise<string | null> {
  if (headers.length === 0) return null;
  const sealed: CustomHeader[] = [];
  for (const [name, value] of headers) sealed.push([name, await vault.seal(reader, owner.dataKeyId, headerPlace(owner, name), value)]);
  return JSON.stringify(sealed);
}

async function sealCertificate(reader: Reader, vault: Vault, owner: Owner, given: ClientCertificate | null): Promise<string | null> {
  if (given === null) return null;
  const key = await vault.seal(reader, owner.dataKeyId, certificatePlace(owner), given.key);
  return JSON.stringify({ certificate: given.certificate, key });
}

function sealedHeaders({ custom_headers }: SettingsColumns): CustomHeader[] {
  return custom_headers === null ? [] : (JSON.parse(custom_headers) as CustomHeader[]);
}

const headerPlace = ({ id }: Owner, name: string) => ({ table: 'endpoints', column: 'custom_headers', id: `${id}/${name}` });
const certificatePlace = ({ id }: Owner) => ({ table: 'endpoints', column: 'client_certificate', id });
const asJson = (value: unknown) => (value === null ? null : JSON.stringify(value));
