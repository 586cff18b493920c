/** What is kept of a failing answer: its first 4 KiB as text, without the secrets that a receiver may have echoed. Pure. */
import type { DeliverableEndpoint } from '../../endpoints/endpoints.ts';

/** Enough for an error page's first lines. */
export const SNIPPET_BYTES_MAX = 4 * 1024;
/** Read beyond it, so that a secret that begins inside is known whole: a header's value has 4,000 characters at most. */
export const SNIPPET_READ_BYTES_MAX = SNIPPET_BYTES_MAX + 12 * 1024;
/** Shorter values are no secrets, and would take words out of any text. */
const SECRET_CHARACTERS_MIN = 6;
const REPLACEMENT = '[redacted]';

export type Redactor = {
  /** The answer's first bytes, at most {@link SNIPPET_BYTES_MAX}; `signatures` are those of this request. */
  snippet(bytes: Buffer, signatures: readonly string[]): string;
  /** The whole text, for messages that quote the answer. */
  text(text: string, signatures: readonly string[]): string;
};

/** Knows the endpoint's signing secrets and own headers in every form in which we hold or send them. */
export function createRedactor({ secrets, customHeaders }: Pick<DeliverableEndpoint, 'secrets' | 'customHeaders'>): Redactor {
  // Made at the first failure: most of ten thousand endpoints never have one.
  let held: ReadonlySet<string> | null = null;

  function redact(text: string, signatures: readonly string[], end: number): string {
    held ??= formsOf([
      ...secrets.flatMap(({ secret }) => formsOfSecret(secret)),
      ...customHeaders.flatMap(([, value]) => formsOfHeader(value)),
    ]);
    let result = '';
    let from = 0;
    for (const [start, through] of placesOf(lowered(text), [...held, ...formsOf(signatures.flatMap(formsOfSignature))])) {
      if (start >= end) break;
      result += text.slice(from, start) + REPLACEMENT;
      from = through;
    }
    return from < end ? result + text.slice(from, end) : result;
  }

  return {
    snippet(bytes, signatures) {
      // PostgreSQL's texts hold no NUL. A character that the end has cut in two is left out.
      const text = bytes.toString().replaceAll('\0', '');
      const redacted = Buffer.from(redact(text, signatures, SNIPPET_BYTES_MAX));
      return redacted.length <= SNIPPET_BYTES_MAX
        ? redacted.toString()
        : redacted
            .subarray(0, SNIPPET_BYTES_MAX)
            .toString()
            .replace(/\ufffd+$/, '');
    },
    text: (text, signatures) => redact(text, signatures, text.length),
  };
}

function formsOfSecret(secret: string): string[] {
  const encoded = secret.replace(/^whsec_/, '');
  const bytes = Buffer.from(encoded, 'base64');
  return [
    secret,
    encoded,
    encoded.replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    Buffer.from(secret).toString('hex'),
  ];
}

function formsOfHeader(value: string): string[] {
  // `Bearer …` and `Basic …`: the credential alone, too.
  return [value, ...value.split(/[ \t,;]+/).filter((part) => part.length >= 2 * SECRET_CHARACTERS_MIN)];
}

/** The header as it was sent, each signature in it, and each without its version. */
function formsOfSignature(header: string): string[] {
  return header.split(/ |,(?=v1=)/).map((signature) => signature.replace(/^v1[=,]/, ''));
}

/** Each as it is, in JSON, in URLs and in HTML, in {@link lowered} letters: hexadecimal forms come in either case. */
function formsOf(values: readonly string[]): ReadonlySet<string> {
  const forms = new Set<string>();
  for (const value of values) {
    if (value.length < SECRET_CHARACTERS_MIN) continue;
    const json = JSON.stringify(value).slice(1, -1);
    for (const form of [value, json, json.replaceAll('/', '\\/'), encodeURIComponent(value), escapeHtml(value)]) forms.add(lowered(form));
  }
  return forms;
}

/**
 * Where they stand, ascending, as start and end; those that touch are one. Looked for one by one: a regular expression of them
 * all has to be compiled for each request, because of its signatures, and took 100 µs of a failed attempt, as long as its sending.
 */
function placesOf(text: string, forms: readonly string[]): [start: number, end: number][] {
  const places: [number, number][] = [];
  for (const form of forms) {
    for (let at = text.indexOf(form); at !== -1; at = text.indexOf(form, at + form.length)) places.push([at, at + form.length]);
  }
  const joined: [number, number][] = [];
  for (const [start, end] of places.sort((a, b) => a[0] - b[0])) {
    const before = joined.at(-1);
    if (before && start <= before[1]) before[1] = Math.max(before[1], end);
    else joined.push([start, end]);
  }
  return joined;
}

/** ASCII alone, so that every character keeps its place. */
function lowered(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

const HTML: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => HTML[character]!);
}
