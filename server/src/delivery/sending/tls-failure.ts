/** What is wrong with a receiver's TLS, from the codes of Node and OpenSSL. Pure. */
import { isoDate } from '../../base/clock.ts';
import type { AttemptPhase, Failure, ShownCertificate } from './failure.ts';

const NAMES_CHARACTERS_KEPT = 200;

/** Null where the code is not about the certificate. */
export function certificateFailure(code: string, certificate: ShownCertificate | null): Failure | null {
  const sentence = certificateSentence(code, certificate);
  return sentence === null ? null : { class: 'tls', message: sentence };
}

function certificateSentence(code: string, certificate: ShownCertificate | null): string | null {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return `The certificate expired${on(certificate?.valid_to)}: renew it, and load it into the receiver.`;
    case 'CERT_NOT_YET_VALID':
      return `The certificate is not valid yet${since(certificate?.valid_from)}: check it, and the clock of this machine.`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `The certificate is not for this host name${names(certificate)}: get one for the host of the webhook's URL, or correct the URL.`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return 'The certificate is self-signed: use one of a public authority, e.g. of Let’s Encrypt.';
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return 'The certificate is of an authority that is not known here: use one of a public authority, or send its whole chain.';
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return 'The certificate came without its chain, or is of an authority that is not known here: send the intermediate certificates too.';
    case 'CERT_REVOKED':
      return 'The certificate was revoked: get a new one.';
    default:
      return null;
  }
}

const on = (date: string | undefined) => (date === undefined ? '' : ` on ${isoDate(Date.parse(date))}`);
const since = (date: string | undefined) => (date === undefined ? '' : ` (only from ${isoDate(Date.parse(date))})`);

function names(certificate: ShownCertificate | null): string {
  const list = certificate?.subjectaltname?.replaceAll('DNS:', '').replaceAll('IP Address:', '');
  return list ? `, but for ${list.slice(0, NAMES_CHARACTERS_KEPT)}` : '';
}

/** Null where the code is not about TLS. */
export function tlsFailure(code: string, phase: AttemptPhase): Failure | null {
  if (!/^(CERT_|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/.test(code))
    return null;
  return { class: 'tls', message: tlsSentence(code, phase) };
}

function tlsSentence(code: string, phase: AttemptPhase): string {
  if (/WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|RECORD_TOO_SMALL/.test(code)) {
    return 'The receiver does not speak TLS at this port: should the URL begin with http, or is the port another one?';
  }
  if (/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW/.test(code)) {
    return 'The receiver offers only versions of TLS that are no longer safe: let it speak TLS 1.2 or 1.3.';
  }
  if (/ALERT_(CERTIFICATE|BAD_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)|ALERT_NO_CERTIFICATE|ALERT_UNSUPPORTED_CERTIFICATE/.test(code)) {
    return `The receiver refused our side of TLS (${code}): it asks for a client certificate, or does not accept the one of the webhook.`;
  }
  if (/HANDSHAKE_FAILURE|NO_SHARED_CIPHER/.test(code)) {
    return 'TLS found nothing that both sides speak, or the receiver asks for a client certificate: check its versions, ciphers and settings.';
  }
  if (/UNRECOGNIZED_NAME/.test(code)) return 'The receiver does not know this host name: check the URL, and the names that it serves.';
  const when = phase === 'tls' ? '' : ' after it was set up';
  return `TLS failed${when} (${code}): the receiver needs a valid certificate for this host name, with its chain.`;
}
