/** Why an attempt failed: a class to count, and a sentence that says what to do. Pure. */
import { TARGET_REFUSED } from '../../endpoints/guard.ts';

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
  | 'secret';
export type Failure = { class: FailureClass; message: string };

/** Raised by the guarded connection for an address that may not be reached. */
export class TargetRefused extends Error {
  readonly code = 'PONTAGE_TARGET_REFUSED';
}

const LOCATION_CHARACTERS_KEPT = 300;

/** Null for a success, which is any 2xx. */
export function statusFailure(status: number, location: string | null): Failure | null {
  if (status >= 200 && status < 300) return null;
  if (status === 410) {
    return {
      class: 'gone',
      message: 'The receiver answered 410, which means "never again": the webhook was disabled. Enable it when it is wanted.',
    };
  }
  if (status >= 300 && status < 400) {
    const target = location ? ` to ${location.slice(0, LOCATION_CHARACTERS_KEPT)}` : '';
    return {
      class: 'redirect',
      message: `The receiver answered ${status}, a redirect${target}. Redirects are not followed: set the webhook's URL to the final address.`,
    };
  }
  return { class: 'status', message: `The receiver answered ${status}. ${advice(status)}` };
}

function advice(status: number): string {
  if (status === 400 || status === 422) return 'It did not accept the body: compare what it expects with the documented event.';
  if (status === 401 || status === 403)
    return 'It refused the request: check that it verifies with the current secret, and that no firewall or login stands before it.';
  if (status === 404) return 'Nothing answers at this path: check the URL of the webhook.';
  if (status === 405) return 'It does not take POST at this path: check the URL of the webhook.';
  if (status === 413) return 'It allows no body of this size: raise its limit to at least 64 KiB.';
  if (status === 429) return 'It asks to be called less often: answer 200 first and do the work afterwards.';
  if (status >= 500) return 'It failed itself: look at its log at this time.';
  return 'Any status of 200 to 299 would count as received.';
}

export function timeoutFailure(deadlineMs: number): Failure {
  return {
    class: 'timeout',
    message: `No complete answer came within ${deadlineMs / 1_000} s. Answer 200 first and do the work afterwards.`,
  };
}

export const NO_SECRET: Failure = {
  class: 'secret',
  message: 'The signing secret of this webhook cannot be read: check PONTAGE_SECRET_KEY, or rotate the secret of the webhook.',
};

/** `error` is what the HTTP client raised before a complete answer. */
export function errorFailure(error: unknown): Failure {
  const code = codeOf(error);
  switch (code) {
    case 'PONTAGE_TARGET_REFUSED':
      return { class: 'guard', message: TARGET_REFUSED };
    case 'ENOTFOUND':
      return { class: 'dns', message: 'The host name does not exist: check the URL of the webhook and its DNS record.' };
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'ENODATA':
      return { class: 'dns', message: 'The host name could not be looked up: check its DNS record, and the DNS servers of this machine.' };
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
      return {
        class: 'connection',
        message: 'The receiver closed the connection before it answered: look at its log, and at any proxy before it.',
      };
    default:
      break;
  }
  if (/^(CERT_|ERR_TLS|ERR_SSL|EPROTO|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|INVALID_CA)/.test(code)) {
    return {
      class: 'tls',
      message: `The TLS connection failed (${code}): the receiver needs a valid certificate for this host name, with its chain.`,
    };
  }
  if (/^(HPE_|UND_ERR_HEADERS|UND_ERR_RES|UND_ERR_RESPONSE)/.test(code)) {
    return {
      class: 'protocol',
      message: `The answer is not valid HTTP/1.1 (${code}): is this the port of a web server, and should the URL begin with https?`,
    };
  }
  return { class: 'connection', message: `The connection failed${code ? ` (${code})` : ''}: check the receiver and the network between.` };
}

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if ('errors' in error && Array.isArray(error.errors) && error.errors.length > 0) return codeOf(error.errors[0]);
  return 'cause' in error ? codeOf(error.cause) : '';
}
