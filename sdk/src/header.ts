import { WebhookVerificationError } from './error.ts';
import { BRIDGE_SIGNATURE, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP } from './signature.ts';

/** The `Headers` of fetch, or anything with its `get`. */
export type HeadersLike = { get(name: string): string | null | undefined; keys?(): Iterable<string> };

/** Headers of a request: those of fetch, or the plain object of node:http and most frameworks. Names in any case. */
export type WebhookHeaders = HeadersLike | Readonly<Record<string, string | readonly string[] | undefined>>;

/** The signatures that a request carries; a scheme that is absent is undefined. */
export type SignatureHeaders = {
  bridge: { macs: Uint8Array[] } | undefined;
  standard: { macs: Uint8Array[]; id: string; timestamp: string } | undefined;
};

/** SHA-256 gives 32 bytes: 64 hexadecimal digits, or 43 base64 characters and one of padding. */
const HEX_MAC = /^v1=([0-9a-f]{64})$/i;
const BASE64_MAC = /^v1,([A-Za-z0-9+/]{43}=)$/;

/** Epoch seconds have 10 digits until the year 2286; 13 are milliseconds. */
const EPOCH_SECONDS = /^\d{1,12}$/;

/** Names listed in a message about a missing header; more would bury the message. */
const NAMES_LISTED_MAX = 30;

/**
 * Reads the headers of both schemes; those of Standard Webhooks only where a secret can check them, else they are ignored.
 * Throws `headers_unusable`, `header_missing`, `header_malformed` or `secret_unusable`.
 */
export function readSignatureHeaders(headers: WebhookHeaders, canCheckStandard: boolean): SignatureHeaders {
  checkHeaders(headers);
  const bridge = textOf(headers, BRIDGE_SIGNATURE, ',');
  const standard = textOf(headers, WEBHOOK_SIGNATURE, ' ');
  const id = textOf(headers, WEBHOOK_ID);
  const timestamp = textOf(headers, WEBHOOK_TIMESTAMP);
  if (bridge === undefined && standard === undefined) throw missing([WEBHOOK_SIGNATURE, BRIDGE_SIGNATURE], 'neither', headers);
  if (bridge === undefined && !canCheckStandard) {
    const message = `The request carries ${WEBHOOK_SIGNATURE} only, which needs a secret that starts with whsec_; none of yours does.`;
    throw new WebhookVerificationError('secret_unusable', message);
  }
  return {
    bridge: bridge === undefined ? undefined : { macs: readBridge(bridge) },
    standard: canCheckStandard ? readStandard(standard, id, timestamp, headers) : undefined,
  };
}

function readBridge(value: string): Uint8Array[] {
  // A server may join repeated headers with a comma and a space.
  const elements = value.split(',').map((element) => element.trim());
  const macs = elements.flatMap((element) => HEX_MAC.exec(element)?.[1] ?? []).map((hex) => Buffer.from(hex, 'hex'));
  if (macs.length === 0) throw malformed(BRIDGE_SIGNATURE, 'has no element of the form v1=<64 hexadecimal digits>');
  return macs;
}

function readStandard(
  value: string | undefined,
  id: string | undefined,
  timestamp: string | undefined,
  headers: WebhookHeaders,
): SignatureHeaders['standard'] {
  if (value === undefined && id === undefined && timestamp === undefined) return undefined;
  if (value === undefined || id === undefined || timestamp === undefined) {
    const all = { [WEBHOOK_ID]: id, [WEBHOOK_TIMESTAMP]: timestamp, [WEBHOOK_SIGNATURE]: value };
    const absent = Object.keys(all).filter((name) => all[name as keyof typeof all] === undefined);
    throw missing(absent, 'not all', headers);
  }
  // Joined repetitions leave a comma after the padding.
  const elements = value.split(/,?\s+/);
  const macs = elements.flatMap((element) => BASE64_MAC.exec(element)?.[1] ?? []).map((base64) => Buffer.from(base64, 'base64'));
  if (macs.length === 0) throw malformed(WEBHOOK_SIGNATURE, 'has no element of the form v1,<44 base64 characters>');
  if (/^\d{13,}$/.test(timestamp)) throw malformed(WEBHOOK_TIMESTAMP, 'is in milliseconds, but must be in seconds');
  if (!EPOCH_SECONDS.test(timestamp)) throw malformed(WEBHOOK_TIMESTAMP, 'is not a whole number of epoch seconds');
  return { macs, id, timestamp };
}

function textOf(headers: WebhookHeaders, name: string, separator?: string): string | undefined {
  const values = isHeadersLike(headers) ? [headers.get(name) ?? headers.get(name.toLowerCase())] : valuesOf(headers, name);
  const texts = values.filter((value) => value !== undefined && value !== null && value.trim() !== '').map((value) => `${value}`.trim());
  if (texts.length > 1 && separator === undefined) throw malformed(name, 'arrived more than once');
  return texts.length === 0 ? undefined : texts.join(separator);
}

function valuesOf(headers: Exclude<WebhookHeaders, HeadersLike>, name: string): (string | undefined)[] {
  const wanted = name.toLowerCase();
  return Object.entries(headers)
    .filter(([key]) => key.toLowerCase() === wanted)
    .flatMap(([, value]) => (value === undefined ? [] : value));
}

function isHeadersLike(headers: WebhookHeaders): headers is HeadersLike {
  return typeof headers.get === 'function';
}

function checkHeaders(headers: unknown): void {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    const kind = Array.isArray(headers) ? 'an array' : String(headers === null ? null : typeof headers);
    throw new WebhookVerificationError(
      'headers_unusable',
      `The headers are ${kind}: pass request.headers, an object by name or a Headers.`,
    );
  }
  if ('headers' in headers && typeof headers.headers === 'object' && headers.headers !== null) {
    throw new WebhookVerificationError('headers_unusable', 'This is the whole request: pass request.headers.');
  }
}

function missing(names: string[], how: 'neither' | 'not all', headers: WebhookHeaders): WebhookVerificationError {
  const received = isHeadersLike(headers) ? [...(headers.keys?.() ?? [])] : Object.keys(headers);
  const listed = received.slice(0, NAMES_LISTED_MAX).join(', ');
  const rest = received.length > NAMES_LISTED_MAX ? ` and ${received.length - NAMES_LISTED_MAX} more` : '';
  const fault =
    how === 'neither'
      ? `The request carries no signature: it has neither ${names.join(' nor ')}.`
      : `The request carries only some of the Standard Webhooks headers: ${names.join(' and ')} missing.`;
  const advice = 'Is this request a webhook, and does a proxy in front of you pass these headers on?';
  return new WebhookVerificationError('header_missing', `${fault} ${advice} Headers received: ${listed || 'none'}${rest}.`);
}

function malformed(name: string, fault: string): WebhookVerificationError {
  return new WebhookVerificationError('header_malformed', `The header ${name} ${fault}.`);
}
