/** Which URLs a webhook may have. Pure; names are checked again, by the addresses they resolve to, at every connection. */
import { isIP } from 'node:net';
import { type AddressPolicy, checkAddress } from './addresses.ts';

export type UrlCheck = { ok: true; url: URL } | { ok: false; sentence: string };

/** Longer than any address a receiver needs, shorter than what proxies cut. */
const URL_CHARACTERS_MAX = 2_000;

/** A refused target is told no more than that: an answer must not map the operator's network. */
export const TARGET_REFUSED = 'This target is not allowed: use a public address, or ask the operator to allow it.';

export function checkUrl(text: string, policy: AddressPolicy): UrlCheck {
  if (text.length > URL_CHARACTERS_MAX) return refuse(`The URL is longer than ${URL_CHARACTERS_MAX} characters.`);
  if (!URL.canParse(text)) return refuse('The URL cannot be read: write it in full, e.g. https://example.com/webhooks.');
  // The parser brings every spelling of an IPv4 address (0x7f.1, 2130706433, 127.1) to the dotted one.
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return refuse('The URL must begin with https:// or http://.');
  if (url.username !== '' || url.password !== '') return refuse('The URL must not carry a user name or a password.');
  if (url.hash !== '' || text.includes('#')) return refuse('The URL must not have a fragment (the part after #).');
  if (url.port === '0') return refuse('The URL must not name port 0.');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (host === '') return refuse('The URL names no host.');
  if (isIP(host) !== 0) return checkAddress(host, policy) ? { ok: true, url } : refuse(TARGET_REFUSED);
  const name = host.replace(/\.$/, '');
  const local = name === 'localhost' || name.endsWith('.localhost');
  if (local && !checkAddress('127.0.0.1', policy)) return refuse(TARGET_REFUSED);
  return { ok: true, url };
}

function refuse(sentence: string): UrlCheck {
  return { ok: false, sentence };
}
