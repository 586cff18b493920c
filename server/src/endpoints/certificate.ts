/** Client certificates for mutual TLS: checked when they are given, so that no delivery finds out. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { isoDate } from '../base/clock.ts';

/** PEM texts; `certificate` may carry its chain, leaf first. The key is sealed at rest. */
export type ClientCertificate = { certificate: string; key: string };
/** What may be shown of it; `expiresAt` is epoch milliseconds, `fingerprint` SHA-256 in hexadecimal. */
export type CertificateSummary = { subject: string; expiresAt: number; fingerprint: string };

/** A chain of four with keys of 4,096 bits is 8 KiB. */
const PEM_CHARACTERS_MAX = 32 * 1024;

/** What is wrong with it at `now` (epoch ms), or null. The key is never repeated. */
export function certificateFault({ certificate, key }: ClientCertificate, now: number): string | null {
  if (certificate.length > PEM_CHARACTERS_MAX || key.length > PEM_CHARACTERS_MAX) {
    return `The client certificate and its key may have ${PEM_CHARACTERS_MAX} characters each.`;
  }
  const leaf = readCertificate(certificate);
  if (!leaf) return 'The client certificate cannot be read: give it as PEM, beginning with -----BEGIN CERTIFICATE-----.';
  const privateKey = readKey(key);
  if (!privateKey) return "The client certificate's key cannot be read: give it as PEM and without a passphrase.";
  if (!leaf.checkPrivateKey(privateKey)) return 'The client certificate and the key do not belong together.';
  const expiresAt = Date.parse(leaf.validTo);
  if (expiresAt <= now) return `The client certificate expired on ${isoDate(expiresAt)}: give a valid one.`;
  return null;
}

/** Of a certificate that {@link certificateFault} has accepted. */
export function summarize(certificate: string): CertificateSummary {
  const leaf = new X509Certificate(certificate);
  return {
    subject: leaf.subject.replaceAll('\n', ', '),
    expiresAt: Date.parse(leaf.validTo),
    fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

function readCertificate(pem: string): X509Certificate | null {
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) return null;
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}

function readKey(pem: string): KeyObject | null {
  try {
    return createPrivateKey({ key: pem, format: 'pem' });
  } catch {
    return null;
  }
}
