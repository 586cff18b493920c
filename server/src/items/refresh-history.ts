/** Reading refreshes that were: what each was asked, how it ended, and what it left to be read. */
import { sql } from '../storage/sql.ts';
import type { Reader } from '../storage/storage.ts';
import type { RefreshCause, RefreshPhase, RefreshState } from './refreshes.ts';

export type PastRefresh = {
  id: string;
  itemId: number;
  applicationId: string;
  userUuid: string;
  cause: RefreshCause;
  state: RefreshState;
  phase: RefreshPhase;
  status: number | null;
  statusCodeInfo: string | null;
  fullRefresh: boolean | null;
  /** JSON in the words of `refresh/record.ts`; null while it runs. */
  record: string | null;
  traceparent: string | null;
  /** The application's clock. */
  startedAt: number;
  finishedAt: number | null;
};

type PastRefreshRow = {
  id: string;
  item_id: number;
  application_id: string;
  user_uuid: string;
  cause: RefreshCause;
  state: RefreshState;
  phase: RefreshPhase;
  status: number | null;
  status_code_info: string | null;
  full_refresh: number | null;
  record: string | null;
  traceparent: string | null;
  started_at: number;
  finished_at: number | null;
};

const COLUMNS = sql`id, item_id, application_id, user_uuid, cause, state, phase, status, status_code_info, full_refresh, record,
  traceparent, started_at, finished_at`;

function fromRow(row: PastRefreshRow): PastRefresh {
  return {
    id: row.id,
    itemId: row.item_id,
    applicationId: row.application_id,
    userUuid: row.user_uuid,
    cause: row.cause,
    state: row.state,
    phase: row.phase,
    status: row.status,
    statusCodeInfo: row.status_code_info,
    fullRefresh: row.full_refresh === null ? null : row.full_refresh === 1,
    record: row.record,
    traceparent: row.traceparent,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  };
}

export async function findPastRefresh(reader: Reader, id: string): Promise<PastRefresh | null> {
  const row = await reader.first<PastRefreshRow>(sql`select ${COLUMNS} from refreshes where id = ${id}`);
  return row ? fromRow(row) : null;
}

/** Newest first, beyond `after`; at most `limit`. */
export async function refreshesOfItem(
  reader: Reader,
  itemId: number,
  options: { after: { startedAt: number; id: string } | null; limit: number },
): Promise<PastRefresh[]> {
  const beyond = options.after === null ? sql`` : sql`and (started_at, id) < (${options.after.startedAt}, ${options.after.id})`;
  const rows = await reader.all<PastRefreshRow>(sql`
    select ${COLUMNS} from refreshes where item_id = ${itemId} ${beyond} order by started_at desc, id desc limit ${options.limit}`);
  return rows.map(fromRow);
}
