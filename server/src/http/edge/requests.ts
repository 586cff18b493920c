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
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refusal('invalid_json');
  }
  // PostgreSQL cannot store the character U+0000, and no name or address has it.
  if (text.includes('\\u0000')) throw new Refusal('bad_request', 'the character U+0000 is not allowed');
  return parse(schema, value);
}

async function readText(c: Context): Promise<string> {
  if (Number(c.req.header('Content-Length') ?? 0) > BODY_LIMIT_BYTES) throw new Refusal('payload_too_large');
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    size += chunk.byteLength;
    if (size > BODY_LIMIT_BYTES) throw new Refusal('payload_too_large');
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new Refusal('invalid_json');
  }
}

/** The last of a repeated parameter counts; names outside the schema are ignored. */
export function readQuery<T>(c: Context, schema: z.ZodType<T>): T {
  return parse(schema, Object.fromEntries(new URL(c.req.url).searchParams));
}

/** Never says the value: it may be a password. */
function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.join('.');
  throw new Refusal('bad_request', field ? `${field}: ${issue?.message ?? 'is invalid'}` : (issue?.message ?? undefined));
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
export const calendarDate = z.string().refine((text) => {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const ms = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text);
}, 'must be a date, YYYY-MM-DD');

const DATE_TIME = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/;

/** A moment in any form of ISO 8601 that clients send, as epoch milliseconds; UTC where it says no zone. */
export const dateTime = z.string().transform((text, context) => {
  // A `+` that was not percent-encoded arrives as a space.
  const written = text.replace(/ (?=\d{2}:?\d{2}$)/, '+');
  const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/.test(written.slice(10)) || !written.includes('T') ? written : `${written}Z`;
  const ms = DATE_TIME.test(written) ? Date.parse(zoned) : Number.NaN;
  if (Number.isNaN(ms)) {
    context.addIssue({ code: 'custom', message: 'must be a date and time, such as 2019-06-21T18:44:09.523Z' });
    return z.NEVER;
  }
  return ms;
});
