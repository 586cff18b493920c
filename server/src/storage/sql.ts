/** A statement with its values bound, written with the {@link sql} tag. `key` is the same object for the same text, null where it is made anew. */
export type Sql = { readonly strings: readonly string[]; readonly values: readonly SqlValue[]; readonly key: readonly string[] | null };
export type SqlValue = string | number | null;

/** `` sql`select * from items where id = ${id}` ``: every value is bound, a nested `Sql` becomes part of the text. */
export function sql(parts: TemplateStringsArray, ...inserts: (SqlValue | Sql)[]): Sql {
  if (!inserts.some(isSql)) return { strings: parts, values: inserts as SqlValue[], key: parts };
  const values = inserts.flatMap((insert) => (isSql(insert) ? insert.values : [insert]));
  const variants = flattened.get(parts) ?? [];
  const known = variants.find(({ keys }) => inserts.every((insert, at) => keys[at] === keyOf(insert)));
  if (known) return { strings: known.strings, values, key: known.strings };
  const strings = flatten(parts, inserts);
  const keys = inserts.map(keyOf);
  if (keys.includes(null)) return { strings, values, key: null };
  flattened.set(parts, [{ keys, strings }, ...variants.slice(0, VARIANTS_KEPT - 1)]);
  return { strings, values, key: strings };
}

/**
 * Statements with others inserted (lists of columns, locks, conditions): one text for each place in the code and each choice
 * of what is inserted there, so that it is put together, rendered and prepared once.
 */
const flattened = new WeakMap<TemplateStringsArray, readonly Variant[]>();
type Variant = { keys: readonly (Key | null)[]; strings: readonly string[] };
/** Of one place: as many as a list has lengths. */
const VARIANTS_KEPT = 12;
/** What decides about the text: of a value only that it is one. */
type Key = readonly string[] | 'value';

function keyOf(insert: SqlValue | Sql): Key | null {
  return isSql(insert) ? insert.key : 'value';
}

function isSql(insert: SqlValue | Sql): insert is Sql {
  return insert !== null && typeof insert === 'object';
}

function flatten(parts: TemplateStringsArray, inserts: readonly (SqlValue | Sql)[]): string[] {
  const strings = [parts[0]!];
  inserts.forEach((insert, index) => {
    const after = parts[index + 1]!;
    if (!isSql(insert)) {
      strings.push(after);
      return;
    }
    strings[strings.length - 1] += insert.strings[0]!;
    strings.push(...insert.strings.slice(1));
    strings[strings.length - 1] += after;
  });
  return strings;
}

/** Part of a statement that is no value: only for names and texts of our own code, never for anything from outside. */
export function sqlText(text: string): Sql {
  return { strings: [text], values: [], key: null };
}

/**
 * `(?, ?, ?)` for an `in` list; `in (null)` matches nothing, which is what an empty list means. The last value is repeated up
 * to a power of two, so that lists of all lengths share a few texts, each prepared once: as a text made anew, the query for the
 * rows that an item's answer is compared with took PostgreSQL 4.0 ms instead of 1.8.
 */
export function sqlList(values: readonly SqlValue[]): Sql {
  const size = 2 ** Math.ceil(Math.log2(values.length || 1));
  if (size > PADDED_MAX) return { strings: listOf(values.length), values, key: null };
  const last = values.at(-1) ?? null;
  const padded = [...values, ...Array<SqlValue>(size - values.length).fill(last)];
  let strings = lists.get(size);
  if (!strings) {
    strings = listOf(size);
    lists.set(size, strings);
  }
  return { strings, values: padded, key: strings };
}

/** A longer one is rare, and takes its time elsewhere. */
const PADDED_MAX = 1_024;
const lists = new Map<number, readonly string[]>();

function listOf(length: number): string[] {
  return ['(', ...Array<string>(length - 1).fill(', '), ')'];
}

type ColumnType = 'text' | 'bigint';
type RowOf<Columns extends Record<string, ColumnType>> = {
  readonly [Name in keyof Columns]: (Columns[Name] extends 'text' ? string : number) | null;
};

/**
 * A table of given rows, in their order, for `from` and `with`: `` sql`… from ${table(rows)} as wanted` ``. Several rows travel as
 * one value (a JSON object by index, which `json_each` reads on both engines), so a statement has the same text for any number
 * of them and is prepared once. One row has a text of its own, a value for each column: reading it as JSON cost a commit of
 * one refresh's events a quarter more. Make one for each place in the code. Texts must be well-formed, without NUL.
 */
export function sqlTable<const Columns extends Record<string, ColumnType>>(columns: Columns): (rows: readonly RowOf<Columns>[]) => Sql {
  const named = Object.entries(columns);
  const selected = named.map(([name, type]) => `cast(value ->> '${name}' as ${type}) as ${name}`);
  const many = [`(select ${selected.join(', ')} from json_each(`, '))'];
  const one = ['(select cast(', ...named.map(([name, type], at) => ` as ${type}) as ${name}${at < named.length - 1 ? ', cast(' : ')'}`)];
  return (rows) => {
    const [row] = rows;
    if (row === undefined || rows.length > 1) return { strings: many, values: [JSON.stringify({ ...rows })], key: many };
    return { strings: one, values: named.map(([name]) => row[name] as SqlValue), key: one };
  };
}

const rendered = { '?': new WeakMap<readonly string[], string>(), $: new WeakMap<readonly string[], string>() };

/** The text in a driver's own form: `?` for SQLite, `$1` for PostgreSQL. Cached per place in the code. */
export function render(query: Sql, form: '?' | '$'): string {
  const cached = query.key && rendered[form].get(query.key);
  if (cached) return cached;
  let text = query.strings[0]!;
  for (let i = 1; i < query.strings.length; i += 1) text += (form === '?' ? '?' : `$${i}`) + query.strings[i]!;
  if (query.key) rendered[form].set(query.key, text);
  return text;
}
