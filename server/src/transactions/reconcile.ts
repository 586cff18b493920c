/**
 * A customer's copy of an account beside the rows here: the live ones, by id, each with the moment of its last change.
 * The digest of a copy is SHA-256, in lower-case hexadecimal, over the lines `<id>:<updated_at in epoch milliseconds>\n` of its
 * live rows in ascending order of id.
 */
import { createHash } from 'node:crypto';
import { sql, sqlList } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';

export type Dated = { id: number; updatedAt: number };

/** Rows read at once for a digest: some 5 ms of the main thread on SQLite. */
const DIGEST_PAGE = 5_000;

export async function digestOfAccount(reader: Reader, accountId: number): Promise<{ digest: string; count: number }> {
  const hash = createHash('sha256');
  let count = 0;
  let after = 0;
  for (;;) {
    const rows = await liveRows(reader, accountId, { after, through: Number.MAX_SAFE_INTEGER, limit: DIGEST_PAGE });
    hash.update(rows.map(({ id, updatedAt }) => `${id}:${updatedAt}\n`).join(''));
    count += rows.length;
    if (rows.length < DIGEST_PAGE) return { digest: hash.digest('hex'), count };
    after = rows.at(-1)!.id;
    // Requests and deliveries have their turn.
    await new Promise(setImmediate);
  }
}

export type Differences = {
  missing: Dated[];
  /** `deleted` with the moment; rows that were never in this account have none. */
  extra: { id: number; deleted: boolean; updatedAt: number | null }[];
  outdated: Dated[];
  /** Everything up to here is compared; null: the whole account is. */
  through: number | null;
};

/** Live rows here that one call compares. */
export const COMPARED_MAX = 1_000;

/**
 * Compares rows with ids above `after`, in ascending order: up to the last of `theirs`, or to the end where `last` says that
 * theirs end there; but at most {@link COMPARED_MAX} rows of ours.
 */
export async function compareAccount(
  reader: Reader,
  accountId: number,
  { theirs, after, last }: { theirs: readonly Dated[]; after: number; last: boolean },
): Promise<Differences> {
  const end = last ? Number.POSITIVE_INFINITY : (theirs.at(-1)?.id ?? after);
  const rows = await liveRows(reader, accountId, { after, through: last ? Number.MAX_SAFE_INTEGER : end, limit: COMPARED_MAX + 1 });
  const through = rows.length > COMPARED_MAX ? Math.min(end, rows[COMPARED_MAX - 1]!.id) : end;
  const ours = new Map(rows.filter(({ id }) => id <= through).map(({ id, updatedAt }) => [id, updatedAt]));
  const outdated: Dated[] = [];
  const extra: number[] = [];
  for (const { id, updatedAt } of theirs) {
    if (id > through) break;
    const current = ours.get(id);
    if (current === undefined) extra.push(id);
    else if (current !== updatedAt) outdated.push({ id, updatedAt: current });
    ours.delete(id);
  }
  const deleted = new Map<number, number>();
  if (extra.length > 0) {
    const gone = await reader.all<{ id: number; updated_at: number }>(
      sql`select id, updated_at from transactions where account_id = ${accountId} and is_deleted = 1 and id in ${sqlList(extra)}`,
    );
    for (const row of gone) deleted.set(row.id, row.updated_at);
  }
  return {
    missing: [...ours].map(([id, updatedAt]) => ({ id, updatedAt })),
    extra: extra.map((id) => ({ id, deleted: deleted.has(id), updatedAt: deleted.get(id) ?? null })),
    outdated,
    through: through === Number.POSITIVE_INFINITY ? null : through,
  };
}

type Page = { after: number; through: number; limit: number };

async function liveRows(reader: Reader, accountId: number, { after, through, limit }: Page): Promise<Dated[]> {
  const rows = await reader.all<{ id: number; updated_at: number }>(sql`
    select id, updated_at from transactions where account_id = ${accountId} and is_deleted = 0 and id > ${after} and id <= ${through}
    order by id limit ${limit}`);
  return rows.map((row) => ({ id: row.id, updatedAt: row.updated_at }));
}
