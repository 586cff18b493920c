/** The pages of the lists: `next_uri`, byte for byte as the contract's section 2.3, and the sort keys its cursors hold. */
import { isoTimestamp } from '../../base/clock.ts';
import { type CursorForm, encodeCursor } from '../edge/cursors.ts';

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
