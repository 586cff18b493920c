/** Why an attempt failed: a class to count, and a sentence that says what to do. Pure. */
import { TARGET_REFUSED } from '../../endpoints/guard.ts';
import { certificateFailure, tlsFailure } from './tls-failure.ts';

export type FailureClass =
  | 'timeout'
  | 'dns'
  | 'refused'
  | 'unreachable'
  | 'tls'
  | 'connection'
  | 'protocol'
  | 'redirect'
  | 'gone'
  | 'status'
  | 'guard'
  | 'proxy'
  | 'secret'
  | 'broken off';
export type Failure = { class: FailureClass; message: string };

/** What an attempt was doing: the last two once its request is under way. */
export type AttemptPhase = 'dns' | 'connect' | 'tls' | 'open' | 'answer' | 'body';
/** What the receiver showed of itself in TLS; as Node gives it. */
export type ShownCertificate = { valid_from?: string; valid_to?: string; subjectaltname?: string | undefined };

/** Raised by the guarded connection for an address that may not be reached. */
export class TargetRefused extends Error {
  readonly code = 'PONTAGE_TARGET_REFUSED';
}

const LOCATION_CHARACTERS_KEPT = 300;
const LOGIN_PATH = /log-?in|sign-?in|\bsso\b|\bauth\b/i;

/** Null for a success, which is any 2xx. */
export function statusFailure(status: number, location: string | null): Failure | null {
  if (status >= 200 && status < 300) return null;
  if (status === 410) {
    return {
      class: 'gone',
      message: 'The receiver answered 410, which means "never again": the webhook was disabled. Enable it when it is wanted.',
    };
  }
  if (status >= 300 && status < 400) return redirectFailure(status, location);
  return { class: 'status', message: `The receiver answered ${status}. ${advice(status)}` };
}

function redirectFailure(status: number, location: string | null): Failure {
  const target = location ? ` to ${location.slice(0, LOCATION_CHARACTERS_KEPT)}` : '';
  const todo =
    location && LOGIN_PATH.test(location)
      ? "let the webhook's path through without a login, and check the signature instead."
      : "set the webhook's URL to the final address.";
  return { class: 'redirect', message: `The receiver answered ${status}${target}. Webhooks never follow redirects: ${todo}` };
}

function advice(status: number): string {
  if (status === 400 || status === 422) return 'It did not accept the body: compare what it expects with the documented event.';
  if (status === 401 || status === 403)
    return 'It refused the request: check that it verifies with the current secret, and that no firewall or login stands before it.';
  if (status === 404) return 'Nothing answers at this path: check the URL of the webhook.';
  if (status === 405) return 'It does not take POST at this path: check the URL of the webhook.';
  if (status === 413) return 'It allows no body of this size: raise its limit to at least 64 KiB.';
  if (status === 415) return 'It does not take this content-type: accept application/json, or application/jose for an encrypted webhook.';
  if (status === 429) return 'It asks to be called less often: answer 200 first and do the work afterwards, or set a rate for the webhook.';
  if (status === 502 || status === 504) return 'A proxy before it got no answer from it: is the receiver running?';
  if (status >= 500) return 'It failed itself: look at its log at this time.';
  return 'Any status of 200 to 299 would count as received.';
}

/** The deadline ended in this phase. `status` is that of an answer that has begun. */
export function timeoutFailure(deadlineMs: number, phase: AttemptPhase = 'answer', status: number | null = null): Failure {
  return { class: 'timeout', message: timeoutSentence(phase, `${deadlineMs / 1_000} s`, status) };
}

function timeoutSentence(phase: AttemptPhase, limit: string, status: number | null): string {
  switch (phase) {
    case 'dns':
      return `The host name was not looked up within ${limit}: check its DNS servers, and those of this machine.`;
    case 'connect':
      return `No connection could be made within ${limit}: check that a firewall lets this server through to the receiver.`;
    case 'tls':
      return `The connection was made, and TLS was not set up within ${limit}: is the receiver overloaded, or is its port not one of https?`;
    case 'open':
    case 'answer':
      return `No answer came within ${limit}. Answer 200 first and do the work afterwards.`;
    case 'body':
      return `The answer began${status === null ? '' : ` with ${status}`} and did not end within ${limit}: answer with a short body, at once.`;
    default:
      return phase satisfies never;
  }
}

/** Says nothing of the receiver, and is never recorded: whoever has the lane sends the event again. */
export const BROKEN_OFF: Failure = { class: 'broken off', message: 'The request was broken off: this server may not send it any more.' };

export const NO_SECRET: Failure = {
  class: 'secret',
  message: 'The signing secret of this webhook cannot be read: check PONTAGE_SECRET_KEY, or rotate the secret of the webhook.',
};
export const NOT_ENCRYPTED: Failure = {
  class: 'secret',
  message: 'The body could not be encrypted, and was not sent: give the public key of the webhook again.',
};
export const TOO_MANY_INTERIM_ANSWERS: Failure = {
  class: 'protocol',
  message: 'The receiver sent interim answers (1xx) without end: answer with 200 and nothing before it.',
};

/** `phase` is how far the attempt came, `certificate` what the receiver showed on the way. */
export type FailureContext = { phase: AttemptPhase; certificate: ShownCertificate | null };

const BEFORE_ANSWER: FailureContext = { phase: 'answer', certificate: null };

/** `error` is what the connection or the HTTP client raised before a complete answer. */
export function errorFailure(error: unknown, { phase, certificate }: FailureContext = BEFORE_ANSWER): Failure {
  const code = codeOf(error);
  return (
    networkFailure(code, error, phase) ??
    certificateFailure(code, certificate) ??
    tlsFailure(code, phase) ??
    otherFailure(code, error, phase)
  );
}

function networkFailure(code: string, error: unknown, phase: AttemptPhase): Failure | null {
  switch (code) {
    case 'PONTAGE_TARGET_REFUSED':
      return { class: 'guard', message: TARGET_REFUSED };
    case 'PONTAGE_PROXY_REFUSED':
      return { class: 'proxy', message: proxySentence(error) };
    case 'ENOTFOUND':
      return { class: 'dns', message: 'The host name does not exist: check the URL of the webhook and its DNS record.' };
    case 'ENODATA':
      return { class: 'dns', message: 'The host name has no address: give it an A or AAAA record in DNS.' };
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'ESERVFAIL':
    case 'ETIMEOUT':
      return {
        class: 'dns',
        message: 'The host name could not be looked up for now: check its DNS servers, and those of this machine.',
      };
    case 'ECONNREFUSED':
      return { class: 'refused', message: 'Nothing listens at this address and port: is the receiver running, and is the port right?' };
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return { class: 'unreachable', message: 'There is no route to the receiver: check its address and the firewalls between.' };
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return {
        class: 'timeout',
        message: 'No connection could be made in time: check that a firewall lets this server through to the receiver.',
      };
    case 'ECONNRESET':
    case 'EPIPE':
    case 'UND_ERR_SOCKET':
      if (error instanceof Error && BAD_ANSWERS.has(error.message)) return INTERIM_ANSWER;
      return { class: phase === 'tls' ? 'tls' : 'connection', message: closedSentence(code, phase) };
    default:
      return null;
  }
}

/** The client's words for an answer 100 or 101 that nobody asked for. */
const BAD_ANSWERS = new Set(['bad response', 'bad upgrade']);
const INTERIM_ANSWER: Failure = {
  class: 'protocol',
  message: 'The receiver answered 100 or 101, which was not asked for: answer with a status of 200 to 299.',
};

function closedSentence(code: string, phase: AttemptPhase): string {
  if (phase === 'tls')
    return 'The receiver closed the connection while TLS was set up: is this port one of https, and does it know this host name?';
  if (phase === 'body')
    return 'The receiver closed the connection in the middle of its answer: look at its log, and at any proxy before it.';
  const how = code === 'ECONNRESET' ? 'reset' : 'closed';
  return `The receiver ${how} the connection before it answered: look at its log, and at any proxy before it.`;
}

/** The tenant learns that it is the operator's to mend, and no address. */
function proxySentence(error: unknown): string {
  const status = typeof error === 'object' && error !== null && 'status' in error ? error.status : null;
  const said = typeof status === 'number' ? `answered ${status}` : 'could not be reached';
  return `The proxy through which webhooks leave ${said}: ask the operator to look at it.`;
}

function otherFailure(code: string, error: unknown, phase: AttemptPhase): Failure {
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'HPE_HEADER_OVERFLOW') {
    return { class: 'protocol', message: "The answer's headers are longer than 16 KiB: answer with 200 and few headers." };
  }
  if (code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') {
    return {
      class: 'protocol',
      message: "The answer's body is not as long as its content-length says: correct the receiver, or a proxy before it.",
    };
  }
  // The parser's errors mostly have no code (undici 8.12), and a reason of its own words.
  const reason = error instanceof Error && error.name === 'HTTPParserError' ? error.message : code;
  if (reason !== code || /^(HPE_|UND_ERR_HEADERS|UND_ERR_RES|UND_ERR_RESPONSE)/.test(code)) {
    const part = phase === 'body' ? 'The body of the answer' : 'The answer';
    return {
      class: 'protocol',
      message: `${part} is not valid HTTP/1.1 (${reason}): is this the port of a web server, and should the URL begin with https?`,
    };
  }
  return { class: 'connection', message: `The connection failed${code ? ` (${code})` : ''}: check the receiver and the network between.` };
}

export function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if ('errors' in error && Array.isArray(error.errors) && error.errors.length > 0) return codeOf(error.errors[0]);
  return 'cause' in error ? codeOf(error.cause) : '';
}
