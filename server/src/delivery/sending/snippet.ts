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
  let held: string[] | null = null;

  function pattern(signatures: readonly string[]): RegExp {
    held ??= [...secrets.flatMap(({ secret }) => formsOfSecret(secret)), ...customHeaders.flatMap(([, value]) => formsOfHeader(value))];
    return anyOf([...held, ...signatures.flatMap(formsOfSignature)]);
  }

  function redact(text: string, signatures: readonly string[], end: number): string {
    let result = '';
    let from = 0;
    for (const match of text.matchAll(pattern(signatures))) {
      if (match.index >= end) break;
      result += text.slice(from, match.index) + REPLACEMENT;
      from = match.index + match[0].length;
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

/** Matches any of them, as they are, in JSON, in URLs and in HTML; letters in either case, for hexadecimal forms. */
function anyOf(values: readonly string[]): RegExp {
  const forms = new Set<string>();
  for (const value of values) {
    if (value.length < SECRET_CHARACTERS_MIN) continue;
    const json = JSON.stringify(value).slice(1, -1);
    for (const form of [value, json, json.replaceAll('/', '\\/'), encodeURIComponent(value), escapeHtml(value)]) forms.add(form);
  }
  const longestFirst = [...forms].sort((a, b) => b.length - a.length);
  // Never matches where there is no secret.
  return longestFirst.length === 0 ? /(?!)/g : new RegExp(longestFirst.map(literal).join('|'), 'gi');
}

const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');

const HTML: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => HTML[character]!);
}
