/** A statement with its values bound, written with the {@link sql} tag. `key` is the same object for the same text, null where it is made anew. */
export type Sql = { readonly strings: readonly string[]; readonly values: readonly SqlValue[]; readonly key: readonly string[] | null };
export type SqlValue = string | number | null;

/** `` sql`select * from items where id = ${id}` ``: every value is bound, a nested `Sql` becomes part of the text. */
export function sql(parts: TemplateStringsArray, ...inserts: (SqlValue | Sql)[]): Sql {
  if (!inserts.some(isSql)) return { strings: parts, values: inserts as SqlValue[], key: parts };
  const values = inserts.flatMap((insert) => (isSql(insert) ? insert.values : [insert]));
  const known = flattened.get(parts);
  if (known && inserts.every((insert, at) => known.keys[at] === keyOf(insert))) {
    return { strings: known.strings, values, key: known.strings };
  }
  const strings = flatten(parts, inserts);
  const keys = inserts.map(keyOf);
  if (keys.includes(null)) return { strings, values, key: null };
  flattened.set(parts, { keys, strings });
  return { strings, values, key: strings };
}

/**
 * Statements with others inserted (lists of columns, locks, conditions): one text for each place in the code as long as the
 * same ones are inserted, so that it is put together, rendered and prepared once.
 */
const flattened = new WeakMap<TemplateStringsArray, { keys: readonly (Key | null)[]; strings: readonly string[] }>();
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

/** `(?, ?, ?)` for an `in` list; `in (null)` matches nothing, which is what an empty list means. */
export function sqlList(values: readonly SqlValue[]): Sql {
  if (values.length === 0) return sqlText('(null)');
  return { strings: ['(', ...Array<string>(values.length - 1).fill(', '), ')'], values, key: null };
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
