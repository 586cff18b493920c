/** A statement with its values bound, written with the {@link sql} tag. */
export type Sql = { readonly strings: readonly string[]; readonly values: readonly SqlValue[]; readonly key: TemplateStringsArray | null };
export type SqlValue = string | number | null;

/** `` sql`select * from items where id = ${id}` ``: every value is bound, a nested `Sql` becomes part of the text. */
export function sql(parts: TemplateStringsArray, ...inserts: (SqlValue | Sql)[]): Sql {
  if (inserts.every((insert) => insert === null || typeof insert !== 'object'))
    return { strings: parts, values: inserts as SqlValue[], key: parts };
  const strings = [parts[0]!];
  const values: SqlValue[] = [];
  inserts.forEach((insert, index) => {
    const after = parts[index + 1]!;
    if (insert !== null && typeof insert === 'object') {
      strings[strings.length - 1] += insert.strings[0]!;
      for (let i = 0; i < insert.values.length; i += 1) {
        values.push(insert.values[i]!);
        strings.push(insert.strings[i + 1]!);
      }
      strings[strings.length - 1] += after;
    } else {
      values.push(insert);
      strings.push(after);
    }
  });
  return { strings, values, key: null };
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

const rendered = { '?': new WeakMap<TemplateStringsArray, string>(), $: new WeakMap<TemplateStringsArray, string>() };

/** The text in a driver's own form: `?` for SQLite, `$1` for PostgreSQL. Cached per place in the code. */
export function render(query: Sql, form: '?' | '$'): string {
  const cached = query.key && rendered[form].get(query.key);
  if (cached) return cached;
  let text = query.strings[0]!;
  for (let i = 1; i < query.strings.length; i += 1) text += (form === '?' ? '?' : `$${i}`) + query.strings[i]!;
  if (query.key) rendered[form].set(query.key, text);
  return text;
}
