/** Static headers that an endpoint adds to each request, e.g. for a gateway before the receiver. Pure. */

/** Values may be secret: they are sealed at rest and never shown again. */
export type CustomHeader = readonly [name: string, value: string];

/** A gateway asks for one or two. */
export const CUSTOM_HEADERS_MAX = 20;
const NAME_CHARACTERS_MAX = 100;
/** Long enough for a signed token. */
const VALUE_CHARACTERS_MAX = 4_000;
/** All together; common servers take 8 to 16 KiB of headers, and ours come to about 1 KiB. */
const CHARACTERS_MAX = 6_000;

/** A token of RFC 9110, section 5.6.2. */
const NAME_FORM = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** Visible characters of Latin-1, with spaces and tabs inside: no line break and no NUL, so that no header can be smuggled in. */
const VALUE_FORM = /^[\x21-\x7e\xa1-\xff](?:[\t\x20-\x7e\xa1-\xff]*[\x21-\x7e\xa1-\xff])?$/;

/** What delivery writes itself, what belongs to one connection (RFC 9110, section 7.6.1), and what claims another sender. */
const RESERVED = new Set([
  ...['connection', 'keep-alive', 'te', 'trailer', 'trailers', 'transfer-encoding', 'upgrade', 'http2-settings', 'expect'],
  ...['host', 'user-agent', 'bridgeapi-signature', 'traceparent', 'tracestate', 'forwarded', 'via', 'date'],
]);
const RESERVED_BEGINNINGS = ['content-', 'webhook-', 'pontage-', 'proxy-', 'x-forwarded-', 'sec-', ':'];

/** What is wrong with them, or null. A value is never repeated. */
export function headersFault(headers: readonly CustomHeader[]): string | null {
  if (headers.length > CUSTOM_HEADERS_MAX) return `A webhook adds at most ${CUSTOM_HEADERS_MAX} headers.`;
  const seen = new Set<string>();
  let characters = 0;
  for (const [name, value] of headers) {
    const fault = headerFault(name, value);
    if (fault) return fault;
    const key = name.toLowerCase();
    if (seen.has(key)) return `The header ${name} is given twice: write each name once.`;
    seen.add(key);
    characters += name.length + value.length;
  }
  if (characters > CHARACTERS_MAX)
    return `The headers have more than ${CHARACTERS_MAX} characters together: receivers refuse such requests.`;
  return null;
}

function headerFault(name: string, value: string): string | null {
  if (name.length > NAME_CHARACTERS_MAX || !NAME_FORM.test(name)) {
    return `A header's name has 1 to ${NAME_CHARACTERS_MAX} letters, digits and hyphens.`;
  }
  const key = name.toLowerCase();
  if (RESERVED.has(key) || RESERVED_BEGINNINGS.some((beginning) => key.startsWith(beginning))) {
    return `The header ${name} is reserved: choose another name, e.g. X-Api-Key or Authorization.`;
  }
  if (value.length > VALUE_CHARACTERS_MAX || !VALUE_FORM.test(value)) {
    return `The value of the header ${name} must have 1 to ${VALUE_CHARACTERS_MAX} Latin characters, without line breaks.`;
  }
  return null;
}
