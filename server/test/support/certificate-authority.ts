/** Makes X.509 certificates (RFC 5280) for tests of chains, with keys of their own: Node reads them and makes none. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

export type Issued = { name: string; pem: string; key: string; issue(name: string, fields?: IssueFields): Issued };
/** Valid from 2020 to 2100 when absent. */
export type IssueFields = { from?: string; to?: string; keys?: Keys };
export type Keys = { publicKey: KeyObject; privateKey: KeyObject };

/** A root of its own. */
export function makeAuthority(name: string, fields: IssueFields = {}): Issued {
  const keys = fields.keys ?? generateKeyPairSync('ed25519');
  return made(name, { ...fields, keys }, { name, privateKey: keys.privateKey });
}

function made(name: string, { from = '2020-01-01', to = '2100-01-01', keys }: IssueFields & { keys: Keys }, by: Issuer): Issued {
  const pem = certify({ name, from: new Date(from), to: new Date(to), publicKey: keys.publicKey }, by);
  const issuer = { name, privateKey: keys.privateKey };
  return {
    name,
    pem,
    key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    issue: (subject, fields = {}) => made(subject, { ...fields, keys: fields.keys ?? generateKeyPairSync('ed25519') }, issuer),
  };
}

type Issuer = { name: string; privateKey: KeyObject };
type Subject = { name: string; from: Date; to: Date; publicKey: KeyObject };

let serial = 0;

function certify({ name, from, to, publicKey }: Subject, by: Issuer): string {
  serial += 1;
  const isRsa = by.privateKey.asymmetricKeyType === 'rsa';
  const algorithm = isRsa ? sequence(SHA256_WITH_RSA, Buffer.from('0500', 'hex')) : sequence(ED25519);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const extensions = tlv(0xa3, sequence(sequence(BASIC_CONSTRAINTS, TRUE, tlv(0x04, sequence(TRUE)))));
  const validity = sequence(time(from), time(to));
  const version = tlv(0xa0, tlv(0x02, Buffer.from([2])));
  const number = tlv(0x02, Buffer.from([0x01, serial >> 8, serial & 0xff]));
  const tbs = sequence(version, number, algorithm, named(by.name), validity, named(name), spki, extensions);
  const signature = sign(isRsa ? 'sha256' : null, tbs, by.privateKey);
  const der = sequence(tbs, algorithm, tlv(0x03, Buffer.concat([Buffer.from([0]), signature])));
  return `-----BEGIN CERTIFICATE-----\n${lines(der.toString('base64'))}\n-----END CERTIFICATE-----\n`;
}

const lines = (base64: string) => base64.match(/.{1,64}/g)!.join('\n');

const oid = (hex: string) => tlv(0x06, Buffer.from(hex, 'hex'));
/** 1.3.101.112, 1.2.840.113549.1.1.11, 2.5.29.19, 2.5.4.3. */
const ED25519 = oid('2b6570');
const SHA256_WITH_RSA = oid('2a864886f70d01010b');
const BASIC_CONSTRAINTS = oid('551d13');
const COMMON_NAME = oid('550403');
const TRUE = tlv(0x01, Buffer.from([0xff]));

function named(name: string): Buffer {
  return sequence(tlv(0x31, sequence(COMMON_NAME, tlv(0x0c, Buffer.from(name)))));
}

/** As GeneralizedTime, which reaches beyond 2049. */
function time(date: Date): Buffer {
  return tlv(0x18, Buffer.from(`${date.toISOString().replaceAll(/[-:T]|\..*/g, '')}Z`));
}

function sequence(...parts: Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts));
}

function tlv(tag: number, value: Buffer): Buffer {
  const { length } = value;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), value]);
}
