/** Keyset cursors: the sort key of a page's last row, as a text that clients hand back as it is. */
import { z } from 'zod';
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
