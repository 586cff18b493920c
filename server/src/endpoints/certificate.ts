/** Client certificates for mutual TLS: checked when they are given, so that no delivery finds out. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { isoDate, isoTimestamp } from '../base/clock.ts';

/** PEM texts; `certificate` may carry its chain, leaf first. The key is sealed at rest. */
export type ClientCertificate = { certificate: string; key: string };
/** What may be shown of it; `expiresAt` is epoch milliseconds, `fingerprint` SHA-256 in hexadecimal. */
export type CertificateSummary = { subject: string; expiresAt: number; fingerprint: string };

/** A chain of four with keys of 4,096 bits is 8 KiB. */
const PEM_CHARACTERS_MAX = 32 * 1024;

/** Leaf, intermediates and a root are three or four; a file with more is a bundle of authorities. */
const CHAIN_MAX = 10;
/** Whatever stands between them, as the names that OpenSSL writes, is not read. */
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^-]*-----END \1-----/g;

/** What is wrong with it at `now` (epoch ms), or null. The key is never repeated. */
export function certificateFault({ certificate, key }: ClientCertificate, now: number): string | null {
  if (certificate.length > PEM_CHARACTERS_MAX || key.length > PEM_CHARACTERS_MAX) {
    return `The client certificate and its key may have ${PEM_CHARACTERS_MAX} characters each.`;
  }
  const blocks = [...certificate.matchAll(PEM_BLOCK)];
  const foreign = blocks.find(([, label]) => label !== 'CERTIFICATE');
  if (foreign) return `The client certificate's file has a block ${foreign[1]}: give PEM certificates alone, and the key by itself.`;
  const read = blocks.map(([block]) => readCertificate(block));
  if (read.length === 0 || (read.length === 1 && read[0] === null)) {
    return 'The client certificate cannot be read: give it as PEM, beginning with -----BEGIN CERTIFICATE-----.';
  }
  const unread = read.indexOf(null);
  if (unread !== -1) return `The ${ordinal(unread)} certificate of the chain cannot be read: give each one as PEM.`;
  if (certificate.split('-----BEGIN').length - 1 > blocks.length) {
    return 'The client certificate is cut short: a block that begins in it has no end.';
  }
  const chain = read as X509Certificate[];
  if (chain.length > CHAIN_MAX)
    return `The client certificate comes with a chain of ${chain.length}: give at most ${CHAIN_MAX}, leaf first.`;
  return keyFault(chain, key) ?? linksFault(chain) ?? validityFault(chain, now) ?? useFault(certificate, key);
}

function keyFault(chain: readonly X509Certificate[], key: string): string | null {
  const privateKey = readKey(key);
  if (!privateKey) return "The client certificate's key cannot be read: give it as PEM and without a passphrase.";
  const own = chain.findIndex((one) => one.checkPrivateKey(privateKey));
  if (own === 0) return null;
  if (own === -1) return 'The client certificate and the key do not belong together.';
  return `The key belongs to the ${ordinal(own)} certificate of the chain: that one must come first, each of the others after the one it issued.`;
}

/** Receivers follow the chain from the leaf on, and many stop at one that did not issue the one before. */
function linksFault(chain: readonly X509Certificate[]): string | null {
  for (const [index, { fingerprint256: own }] of chain.entries()) {
    const first = chain.findIndex(({ fingerprint256 }) => fingerprint256 === own);
    if (first < index) return `The ${ordinal(index)} certificate of the chain is the same as the ${ordinal(first)}: give each one once.`;
  }
  for (const [index, one] of chain.entries()) {
    const next = chain[index + 1];
    if (!next || hasIssued(next, one)) continue;
    const issuer = chain.findIndex((other) => other !== one && hasIssued(other, one));
    const remedy = issuer === -1 ? `it was issued by ${named(one.issuer)}` : `the ${ordinal(issuer)} did, and must follow it`;
    return `The ${ordinal(index + 1)} certificate of the chain did not issue the ${ordinal(index)} (${named(one.subject)}): ${remedy}.`;
  }
  return null;
}

/** By its name and by its key: two authorities may have the same name. */
function hasIssued(issuer: X509Certificate, one: X509Certificate): boolean {
  return one.checkIssued(issuer) && one.verify(issuer.publicKey);
}

function validityFault(chain: readonly X509Certificate[], now: number): string | null {
  for (const [index, { subject, validFrom, validTo }] of chain.entries()) {
    const name = index === 0 ? 'The client certificate' : `The ${ordinal(index)} certificate of the chain (${named(subject)})`;
    const [from, expiresAt] = [Date.parse(validFrom), Date.parse(validTo)];
    if (expiresAt <= now) return `${name} expired on ${isoDate(expiresAt)}: give a valid one.`;
    if (from > now) return `${name} is not valid before ${isoTimestamp(from)}: give one that is valid now.`;
  }
  return null;
}

/** As each connection will do it: what is too weak for TLS is refused there, whatever else is right. */
function useFault(cert: string, key: string): string | null {
  try {
    createSecureContext({ cert, key });
    return null;
  } catch (error) {
    const reason = (error as { reason?: string }).reason ?? 'it is refused';
    return `The client certificate cannot be used for TLS: ${reason}.`;
  }
}

const ORDINALS = ['first', 'second', 'third'];
const ordinal = (index: number) => ORDINALS[index] ?? `${index + 1}th`;
const named = (name: string) => name.replaceAll('\n', ', ');

/** Of a certificate that {@link certificateFault} has accepted. */
export function summarize(certificate: string): CertificateSummary {
  const leaf = new X509Certificate(certificate);
  return {
    subject: named(leaf.subject),
    expiresAt: Date.parse(leaf.validTo),
    fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

function readCertificate(pem: string): X509Certificate | null {
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
