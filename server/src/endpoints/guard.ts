/** Which URLs a webhook may have. Names are checked again, by the addresses they resolve to, at every connection. */
import type { LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import { type AddressPolicy, checkAddress, checkPort, isLocalName } from './addresses.ts';
import type { Resolve } from './lookups.ts';

export type UrlCheck = { ok: true; url: URL } | { ok: false; sentence: string };

/** Longer than any address a receiver needs, shorter than what proxies cut. */
const URL_CHARACTERS_MAX = 2_000;
/** Whoever makes a webhook waits for it; a slow name is checked at the first connection all the same. */
const RESOLVE_MAX_MS = 2_000;

/** A refused target is told no more than that: an answer must not map the operator's network. */
export const TARGET_REFUSED = 'This target is not allowed: use a public address and a usual port, or ask the operator to allow it.';

/** Pure. */
export function checkUrl(text: string, policy: AddressPolicy): UrlCheck {
  if (text.length > URL_CHARACTERS_MAX) return refuse(`The URL is longer than ${URL_CHARACTERS_MAX} characters.`);
  // The parser would take line breaks out and turn backslashes round: what is kept and shown must be what is meant.
  if (/[\p{Cc}\s\\]/u.test(text))
    return refuse('The URL must not have spaces, line breaks, backslashes or control characters: escape them.');
  if (!URL.canParse(text)) return refuse('The URL cannot be read: write it in full, e.g. https://example.com/webhooks.');
  // The parser brings every spelling of an IPv4 address (0x7f.1, 2130706433, 127.1, full-width digits) to the dotted one.
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return refuse('The URL must begin with https:// or http://.');
  if (url.username !== '' || url.password !== '') return refuse('The URL must not carry a user name or a password.');
  if (url.hash !== '' || text.includes('#')) return refuse('The URL must not have a fragment (the part after #).');
  if (url.port === '0') return refuse('The URL must not name port 0.');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // A dot at its end is the name's full form; two are no name, and resolvers differ over them.
  if (host === '' || /^\.|\.\./.test(host)) return refuse('The URL names no host.');
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
  if (!checkPort(port, host, policy)) return refuse(TARGET_REFUSED);
  if (isIP(host) !== 0) return checkAddress(host, policy) ? { ok: true, url } : refuse(TARGET_REFUSED);
  if (isLocalName(host) && !checkAddress('127.0.0.1', policy)) return refuse(TARGET_REFUSED);
  return { ok: true, url };
}

/** Of a URL that {@link checkUrl} has accepted: a sentence when its name leads to an address that is not allowed. A name that cannot be looked up is not refused. */
export async function resolvedFault(text: string, policy: AddressPolicy, resolve: Resolve): Promise<string | null> {
  const { hostname } = new URL(text);
  if (isIP(hostname.replace(/^\[|\]$/g, '')) !== 0) return null;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<LookupAddress[]>((done) => {
    timer = setTimeout(done, RESOLVE_MAX_MS, []);
  });
  const addresses = await Promise.race([resolve(hostname).catch(() => []), late]);
  clearTimeout(timer);
  return addresses.every(({ address }) => checkAddress(address, policy)) ? null : TARGET_REFUSED;
}

function refuse(sentence: string): UrlCheck {
  return { ok: false, sentence };
}
