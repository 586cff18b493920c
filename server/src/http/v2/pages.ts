/** Pages: keyset cursors and `next_uri`, byte for byte as the contract's section 2.3. */
import { z } from 'zod';
import { isoTimestamp } from '../../base/clock.ts';
import { Refusal } from '../../base/errors.ts';

export const PAGE_DEFAULT = 50;
export const PAGE_MAXIMUM = 500;

/** The two parameters of every list. */
export const pageQuery = {
  limit: z
    .string()
    .regex(/^\d{1,3}$/, `must be a whole number from 1 to ${PAGE_MAXIMUM}`)
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= PAGE_MAXIMUM, `must be a whole number from 1 to ${PAGE_MAXIMUM}`)
    .default(PAGE_DEFAULT),
  after: z.string().optional(),
};

/** How a sort key becomes the plain text of a cursor, and back; `read` answers null for what it did not write. */
export type CursorForm<Key> = { write(key: Key): string; read(text: string): Key | null };

export const idCursor: CursorForm<number> = {
  write: String,
  read: (text) => (/^\d{1,16}$/.test(text) ? Number(text) : null),
};

export const uuidCursor: CursorForm<string> = {
  write: (uuid) => uuid,
  read: (text) => (/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text) ? text : null),
};

/** `2023-07-16:36000070521211` */
export const dateCursor: CursorForm<{ date: string; id: number }> = {
  write: ({ date, id }) => `${date}:${id}`,
  read: (text) => {
    const match = /^(\d{4}-\d{2}-\d{2}):(\d{1,16})$/.exec(text);
    return match ? { date: match[1]!, id: Number(match[2]) } : null;
  },
};

/** `2023-07-24T16:14:56.342Z_36000070521538` */
export const updateCursor: CursorForm<{ updatedAt: number; id: number }> = {
  write: ({ updatedAt, id }) => `${isoTimestamp(updatedAt)}_${id}`,
  read: (text) => {
    const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z)_(\d{1,16})$/.exec(text);
    const updatedAt = match ? Date.parse(match[1]!) : Number.NaN;
    return match && !Number.isNaN(updatedAt) ? { updatedAt, id: Number(match[2]) } : null;
  },
};

export function encodeCursor<Key>(form: CursorForm<Key>, key: Key): string {
  return Buffer.from(form.write(key)).toString('base64url');
}

/** Null for the first page. A text that {@link encodeCursor} could not have written is refused. */
export function decodeCursor<Key>(form: CursorForm<Key>, cursor: string | undefined): Key | null {
  if (cursor === undefined) return null;
  const key = form.read(Buffer.from(cursor, 'base64url').toString());
  if (key === null || encodeCursor(form, key) !== cursor) throw new Refusal('invalid_cursor');
  return key;
}

export type PageRequest<Row, Key> = {
  /** Of the list, with `/v2`. */
  path: string;
  limit: number;
  form: CursorForm<Key>;
  keyOf(row: Row): Key;
  /** Repeated in `next_uri`, in this order, so that clients may follow it as it is. */
  filters?: readonly (readonly [name: string, value: string | undefined])[];
  show(row: Row): object;
  /** Only transactions and categories carry it. */
  generatedAt?: number;
};

/** `rows` are one more than `limit` where another page follows. */
export function page<Row, Key>(rows: readonly Row[], request: PageRequest<Row, Key>): object {
  const shown = rows.slice(0, request.limit);
  const last = shown.at(-1);
  return {
    resources: shown.map(request.show),
    ...(request.generatedAt === undefined ? {} : { generated_at: isoTimestamp(request.generatedAt) }),
    pagination: { next_uri: rows.length > request.limit && last !== undefined ? nextUri(request, last) : null },
  };
}

function nextUri<Row, Key>(request: PageRequest<Row, Key>, last: Row): string {
  const filters = (request.filters ?? [])
    .filter((filter): filter is readonly [string, string] => filter[1] !== undefined)
    .map(([name, value]) => `&${name}=${encodeURIComponent(value)}`);
  return `${request.path}?after=${encodeCursor(request.form, request.keyOf(last))}&limit=${request.limit}${filters.join('')}`;
}
