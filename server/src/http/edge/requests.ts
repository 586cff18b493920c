/** Reading requests: every body and every query passes a schema once, and fails as a sentence that names its field. */
import type { Context } from 'hono';
import { z } from 'zod';
import { Refusal } from '../../base/errors.ts';

/** No body of this API needs more than a few hundred bytes. */
export const BODY_LIMIT_BYTES = 64 * 1_024;

/** An absent body is `{}`: those of the API that may carry one work without. */
export async function readBody<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const text = await readText(c);
  if (text === '') return parse(schema, {});
  if (!/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(c.req.header('Content-Type') ?? '')) throw new Refusal('unsupported_media_type');
  return parse(schema, readJson(text));
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => {
      checkText(key);
      if (typeof value === 'string') checkText(value);
      return value;
    });
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal('invalid_json');
  }
}

/** What a database would refuse, or keep as another text than the one that was sent: two names could become one. */
function checkText(text: string): void {
  if (text.includes('\0')) throw new Refusal('bad_request', 'the character U+0000 is not allowed');
  if (!text.isWellFormed()) throw new Refusal('bad_request', 'a text has half of a character (a lone surrogate)');
}

async function readText(c: Context): Promise<string> {
  if (Number(c.req.header('Content-Length') ?? 0) > BODY_LIMIT_BYTES) throw new Refusal('payload_too_large');
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of c.req.raw.body ?? []) {
      size += chunk.byteLength;
      if (size > BODY_LIMIT_BYTES) throw new Refusal('payload_too_large');
      chunks.push(chunk);
    }
  } catch (error) {
    // The caller has gone: no fault of ours, and nobody hears the answer.
    throw error instanceof Refusal ? error : new Refusal('bad_request', 'the body ended before its time');
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new Refusal('invalid_json');
  }
}

/** The last of a repeated parameter counts; names outside the schema are ignored, unless it is strict. */
export function readQuery<T extends object>(c: Context, schema: z.ZodType<T>): T {
  const query: Record<string, string> = Object.fromEntries(new URL(c.req.url).searchParams);
  const read = parse(schema, query);
  for (const name of Object.keys(read))
    if (query[name]?.includes('\0')) throw new Refusal('bad_request', `${name}: the character U+0000 is not allowed`);
  return read;
}

/** No id, name or token has U+0000, and a database would refuse it: such a path leads nowhere. */
export function checkPath(c: Context): void {
  if (Object.values(c.req.param()).some((value) => value.includes('\0'))) throw new Refusal('not_found');
}

/** Never says the value: it may be a password. */
function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value, { error: sentenceOf });
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.join('.');
  throw new Refusal('bad_request', field ? `${field}: ${issue?.message ?? 'is invalid'}` : (issue?.message ?? undefined));
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
};

/** In plain words for the commonest mistake; zod's own for the others. */
function sentenceOf(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'invalid_type') return undefined;
  if (issue.input === undefined) return 'is required';
  const kind = KINDS[issue.expected];
  if (kind === undefined) return undefined;
  return (issue.path ?? []).length === 0 ? `the body must be ${kind}` : `must be ${kind}`;
}

/** An id in a path or a query: a whole number from 1 to 2^53 - 1. */
export const idText = z
  .string()
  .regex(/^[1-9]\d{0,15}$/, 'must be a whole number')
  .transform(Number)
  .refine(Number.isSafeInteger, 'must be a whole number');

/** What is no id names nothing: 404, like an id of nobody's. */
export function pathId(c: Context, name = 'id'): number {
  const result = idText.safeParse(c.req.param(name));
  if (!result.success) throw new Refusal('not_found');
  return result.data;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function pathUuid(c: Context): string {
  const uuid = (c.req.param('uuid') ?? '').toLowerCase();
  if (!UUID.test(uuid)) throw new Refusal('not_found');
  return uuid;
}

/** A date that exists: `2023-02-30` does not. */
export const calendarDate = z.string().refine(isCalendarDate, 'must be a date, YYYY-MM-DD');

function isCalendarDate(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const ms = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}

const DATE_TIME = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/;
/** A zone may carry a moment beyond the years that have four digits. */
const EARLIEST = Date.parse('0000-01-01T00:00:00.000Z');
const LATEST = Date.parse('9999-12-31T23:59:59.999Z');

/** A moment in any form of ISO 8601 that clients send, as epoch milliseconds of the years 0 to 9999; UTC where it says no zone. */
export const dateTime = z.string().transform((text, context) => {
  // A `+` that was not percent-encoded arrives as a space.
  const written = text.replace(/ (?=\d{2}:?\d{2}$)/, '+');
  const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/.test(written.slice(10)) || !written.includes('T') ? written : `${written}Z`;
  const ms = DATE_TIME.test(written) && isCalendarDate(written.slice(0, 10)) ? Date.parse(zoned) : Number.NaN;
  if (Number.isNaN(ms)) {
    context.addIssue({ code: 'custom', message: 'must be a date and time, such as 2019-06-21T18:44:09.523Z' });
    return z.NEVER;
  }
  return Math.min(Math.max(ms, EARLIEST), LATEST);
});

/** For the `refine` of a query or body with both: a span that ends where it begins finds nothing, and would not say why. */
export const isSpan = ({ since, until }: { since?: number | undefined; until?: number | undefined }): boolean =>
  since === undefined || until === undefined || since < until;
export const SPAN_ISSUE = { path: ['until'], message: 'must be later than since' };
