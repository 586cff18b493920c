/** What may be given of an endpoint when it is made or changed. */
import { SUBSCRIBABLE_TYPES } from '../events/catalogue.ts';
import type { AddressPolicy } from './addresses.ts';
import { checkUrl, resolvedFault } from './guard.ts';
import type { Resolve } from './lookups.ts';
import { type EndpointSettings, type SettingField, settingsFault } from './settings.ts';

const NAME_CHARACTERS_MAX = 200;
const CERTIFICATE_WITHOUT_TLS = 'A client certificate needs a URL that begins with https://.';

type RequiredFields = { name: string; url: string; events: readonly string[] };
/** Settings that are not given have their defaults. */
export type EndpointFields = RequiredFields & Partial<EndpointSettings>;
export type Refused = { outcome: 'invalid'; field: keyof RequiredFields | SettingField; sentence: string };

/** Pure. Null when all that is given can be; `now` is epoch milliseconds. */
export function checkFields(fields: Partial<EndpointFields>, policy: AddressPolicy, now: number): Refused | null {
  const url = fields.url === undefined ? null : checkUrl(fields.url, policy);
  if (url && !url.ok) return { outcome: 'invalid', field: 'url', sentence: url.sentence };
  const name = fields.name?.trim();
  if (name !== undefined && (name === '' || name.length > NAME_CHARACTERS_MAX)) {
    return { outcome: 'invalid', field: 'name', sentence: `The name must have 1 to ${NAME_CHARACTERS_MAX} characters.` };
  }
  const sentence = fields.events === undefined ? null : eventsFault(fields.events);
  if (sentence !== null) return { outcome: 'invalid', field: 'events', sentence };
  if (fields.clientCertificate && url?.ok && url.url.protocol === 'http:') {
    return { outcome: 'invalid', field: 'clientCertificate', sentence: CERTIFICATE_WITHOUT_TLS };
  }
  const fault = settingsFault(fields, now);
  return fault && { outcome: 'invalid', ...fault };
}

/** Pure. Of a change whose fields {@link checkFields} has accepted, on what stays as it was: `endpoint` is as it would be. */
export function checkChange(endpoint: { url: string; hasCertificate: boolean }, change: Partial<EndpointFields>): Refused | null {
  if (!endpoint.hasCertificate || !endpoint.url.startsWith('http:')) return null;
  if (change.clientCertificate) return { outcome: 'invalid', field: 'clientCertificate', sentence: CERTIFICATE_WITHOUT_TLS };
  if (change.url === undefined) return null;
  const sentence =
    'The webhook has a client certificate, which needs a URL that begins with https://: keep that, or take the certificate away.';
  return { outcome: 'invalid', field: 'url', sentence };
}

/** Of fields that {@link checkFields} has accepted: where the name of the URL leads. */
export async function checkTarget(url: string | undefined, policy: AddressPolicy, resolve: Resolve | undefined): Promise<Refused | null> {
  const sentence = url === undefined || resolve === undefined ? null : await resolvedFault(url, policy, resolve);
  return sentence === null ? null : { outcome: 'invalid', field: 'url', sentence };
}

function eventsFault(events: readonly string[]): string | null {
  const known: readonly string[] = SUBSCRIBABLE_TYPES;
  const types = SUBSCRIBABLE_TYPES.join(', ');
  const unknown = events.find((type) => !known.includes(type));
  if (unknown !== undefined) return `There is no event type "${unknown}": choose of ${types}.`;
  return events.length === 0 ? `Choose at least one event type of ${types}.` : null;
}

/** In the order of the catalogue and without repeats, so that equal filters are equal texts. */
export function orderedEvents(events: readonly string[]): string[] {
  return SUBSCRIBABLE_TYPES.filter((type) => events.includes(type));
}
