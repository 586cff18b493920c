import { timingSafeEqual } from 'node:crypto';
import { WebhookVerificationError } from './error.ts';
import { EventFormatError, parseEvent, type WebhookEvent } from './event.ts';
import { readSignatureHeaders, type SignatureHeaders, type WebhookHeaders } from './header.ts';
import { bridgeMac, standardMac } from './mac.ts';
import { readSecrets, type SecretKeys } from './secret.ts';
import { BRIDGE_SIGNATURE, WEBHOOK_SIGNATURE } from './signature.ts';

/** The tolerance of Standard Webhooks: five minutes of clock difference and time on the way. */
const TOLERANCE_MS = 5 * 60 * 1000;

export type VerifyOptions = {
  /** Epoch milliseconds; the clock of the machine by default. */
  now?: number | undefined;
  /** How far `webhook-timestamp` may be from now; five minutes by default. */
  toleranceMs?: number | undefined;
  /**
   * Refuse a request without the Standard Webhooks headers. `BridgeApi-Signature` alone covers no time, so whoever recorded
   * a request could strip the other headers and send it again. By default true where every secret starts with `whsec_`, since
   * a sender of such secrets signs in both schemes; set it to false for one that does not.
   */
  requireTimestamp?: boolean | undefined;
};

type Body = { bytes: Uint8Array; text: string };

/**
 * Checks that the request was signed with one of the secrets, and returns its event.
 * Every scheme that the request carries, and that the secrets allow, must match; at least one must be there.
 * @param rawBody the body exactly as it arrived, before any JSON parser
 * @param secrets the signing secret, or both while one is being replaced
 * Throws `WebhookVerificationError`; its `code` is for programs, its message says what to do.
 */
export function verify(
  rawBody: string | Uint8Array,
  headers: WebhookHeaders,
  secrets: string | readonly string[],
  options: VerifyOptions = {},
): WebhookEvent {
  return readEvent(check(rawBody, headers, secrets, options).text);
}

/**
 * Verifies the signatures alone, for bodies that are no event as they arrive: those of an encrypted webhook
 * (`content-type: application/jose`). Decrypt after it, and read the event with `parseEvent`. Arguments and errors are
 * those of {@link verify}.
 */
export function verifySignature(
  rawBody: string | Uint8Array,
  headers: WebhookHeaders,
  secrets: string | readonly string[],
  options: VerifyOptions = {},
): void {
  check(rawBody, headers, secrets, options);
}

function check(rawBody: string | Uint8Array, headers: WebhookHeaders, secrets: string | readonly string[], options: VerifyOptions): Body {
  const now = options.now ?? Date.now();
  const toleranceMs = options.toleranceMs ?? TOLERANCE_MS;
  if (!Number.isFinite(now)) throw new WebhookVerificationError('option_invalid', 'The option now must be epoch milliseconds.');
  if (!(toleranceMs >= 0)) throw new WebhookVerificationError('option_invalid', 'The option toleranceMs must be 0 or more milliseconds.');
  const read = readSecrets(secrets);
  if (read.outcome === 'refused') throw new WebhookVerificationError(read.code, read.message);
  const body = readBody(rawBody);
  const canCheckStandard = read.keys.some((key) => key.standard !== undefined);
  const signatures = readSignatureHeaders(headers, canCheckStandard);
  const timeRequired = options.requireTimestamp ?? read.keys.every((key) => key.standard !== undefined);
  if (timeRequired) checkTimeIsSigned(signatures, canCheckStandard);

  checkSignatures(signatures, read.keys, body);
  if (signatures.standard !== undefined) checkTimestamp(Number(signatures.standard.timestamp) * 1000, now, toleranceMs);
  return body;
}

function readBody(rawBody: unknown): Body {
  if (typeof rawBody === 'string' || rawBody instanceof Uint8Array) {
    if (rawBody.length === 0) {
      throw new WebhookVerificationError(
        'body_empty',
        'The body is empty. Something read the request before you: verify before any body parser.',
      );
    }
    return typeof rawBody === 'string'
      ? { bytes: Buffer.from(rawBody, 'utf8'), text: rawBody }
      : { bytes: rawBody, text: new TextDecoder().decode(rawBody) };
  }
  throw new WebhookVerificationError('body_not_raw', bodyFault(rawBody));
}

function bodyFault(rawBody: unknown): string {
  if (rawBody === undefined || rawBody === null) return `The body is ${rawBody}: pass the raw body, the string or bytes that arrived.`;
  if (rawBody instanceof ArrayBuffer) return 'The body is an ArrayBuffer: pass new Uint8Array(body).';
  if (typeof rawBody === 'object' && 'then' in rawBody) return 'The body is a promise: await it, then pass the raw body.';
  const advice = 'pass the raw body, the string or bytes that arrived. JSON.stringify does not give the same bytes back.';
  return typeof rawBody === 'object' ? `The body was already parsed to an object: ${advice}` : `The body is a ${typeof rawBody}: ${advice}`;
}

function checkTimeIsSigned(signatures: SignatureHeaders, canCheckStandard: boolean): void {
  if (!canCheckStandard) {
    const message = 'The option requireTimestamp is set, which needs a secret that starts with whsec_; none of yours does.';
    throw new WebhookVerificationError('secret_unusable', message);
  }
  if (signatures.standard !== undefined) return;
  const message = `The request carries ${BRIDGE_SIGNATURE} only: its time cannot be checked. If its sender knows no other scheme, set requireTimestamp to false.`;
  throw new WebhookVerificationError('header_missing', message);
}

function checkSignatures(signatures: SignatureHeaders, keys: readonly SecretKeys[], body: Body): void {
  const { bridge, standard } = matches(signatures, keys, body.bytes);
  if (bridge !== false && standard !== false) return;
  if (bridge === true || standard === true) {
    const [good, bad] = bridge === true ? [BRIDGE_SIGNATURE, WEBHOOK_SIGNATURE] : [WEBHOOK_SIGNATURE, BRIDGE_SIGNATURE];
    const message = `${good} is right but ${bad} is not, so body and secret are right: a header was changed after the request was signed.`;
    throw new WebhookVerificationError('signature_mismatch', message);
  }
  const fault = reserialisation(body, (bytes) => {
    const again = matches(signatures, keys, bytes);
    return again.bridge !== false && again.standard !== false;
  });
  if (fault !== undefined) throw new WebhookVerificationError('body_reserialised', fault);
  const whose = keys.length === 1 ? 'the secret' : `any of the ${keys.length} secrets`;
  throw new WebhookVerificationError(
    'signature_mismatch',
    `The signature was not made with ${whose} over this body. Either it is the secret of another webhook, or one that was replaced, or the body is not the bytes that arrived.`,
  );
}

/** Per scheme: whether any secret made any of its signatures; undefined where the scheme is absent. */
function matches(
  signatures: SignatureHeaders,
  keys: readonly SecretKeys[],
  bytes: Uint8Array,
): { bridge: boolean | undefined; standard: boolean | undefined } {
  const { bridge, standard } = signatures;
  return {
    bridge:
      bridge &&
      contains(
        bridge.macs,
        keys.map((key) => bridgeMac(key.bridge, bytes)),
      ),
    standard:
      standard &&
      contains(
        standard.macs,
        keys.flatMap((key) => (key.standard === undefined ? [] : standardMac(key.standard, standard.id, standard.timestamp, bytes))),
      ),
  };
}

/** Compares every pair, without stopping at a match, so that the time taken tells nothing. */
function contains(received: readonly Uint8Array[], expected: readonly Uint8Array[]): boolean {
  let found = false;
  for (const mac of received) {
    for (const own of expected) found = timingSafeEqual(mac, own) || found;
  }
  return found;
}

/** Why a body that does not match is not the one that was sent, where the sent one can be restored or its look tells. */
function reserialisation(body: Body, isSigned: (bytes: Uint8Array) => boolean): string | undefined {
  const advice = 'Verify the raw body, before any JSON parser.';
  if (isSigned(Buffer.from(body.text.trim(), 'utf8'))) return `Whitespace was added around the body after it was signed. ${advice}`;
  if (isSigned(Buffer.from(body.text, 'latin1')))
    return 'The body was decoded as Latin-1 instead of UTF-8. Pass the bytes, or decode them as UTF-8.';
  const compact = compactJson(body.text);
  if (compact !== undefined && isSigned(Buffer.from(compact, 'utf8'))) {
    return `The body was parsed and written again in another layout (indented, or with spaces): the signed bytes are compact JSON. ${advice}`;
  }
  if (/^\s*\{\s*\n|^\{"\w+": /.test(body.text)) {
    return `The signature does not match, and the body is indented or spaced JSON where compact JSON is sent: it looks parsed and written again. ${advice}`;
  }
  return undefined;
}

function compactJson(text: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function checkTimestamp(sentAt: number, now: number, toleranceMs: number): void {
  const ageMs = now - sentAt;
  if (Math.abs(ageMs) <= toleranceMs) return;
  const seconds = (durationMs: number): string => `${Math.round(durationMs / 1000)} s`;
  const limit = `more than the ${seconds(toleranceMs)} allowed`;
  if (ageMs > 0) {
    const message = `The signature is right, but the request was signed ${seconds(ageMs)} ago, ${limit}: it was replayed or held up, or your clock is fast.`;
    throw new WebhookVerificationError('timestamp_too_old', message);
  }
  const message = `The signature is right, but the request was signed ${seconds(-ageMs)} in the future, ${limit}: your clock is slow, or the sender's is fast.`;
  throw new WebhookVerificationError('timestamp_too_new', message);
}

function readEvent(text: string): WebhookEvent {
  try {
    return parseEvent(text);
  } catch (cause) {
    if (!(cause instanceof EventFormatError)) throw cause;
    throw new WebhookVerificationError('body_not_an_event', `The signature is right, but the body is no event. ${cause.message}`, {
      cause,
    });
  }
}
