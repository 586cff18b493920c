/**
 * Refresh records: the queue of the refresh worker, the state that Connect and the API show, and the audit afterwards.
 *
 *   authenticating -> retrieving_data -> finished | finished_error
 *         |    ^
 *         v    | (a code, an approval)
 *   info_required -> invalid_creds | finished_error (the challenge expired)
 */
import { randomId } from '../base/random.ts';
import { sql } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';

/** `completion`: the second half of a first connection, the full history after the first data. */
export type RefreshCause = 'connect' | 'completion' | 'api' | 'scheduler';
export type RefreshState = 'authenticating' | 'retrieving_data' | 'info_required' | 'finished' | 'invalid_creds' | 'finished_error';
export type RefreshPhase = 'recent' | 'full' | 'incremental';

/** What is shown of a running challenge; the connector's own state stays sealed beside it. */
export type ShownChallenge = {
  type: 'SMS' | 'APP_TO_APP';
  label: string;
  description: string | null;
  isNumeric: boolean;
  pollMs: number | null;
  wrongAnswer: boolean;
};

export type Refresh = {
  id: string;
  itemId: number;
  applicationId: string;
  userUuid: string;
  cause: RefreshCause;
  state: RefreshState;
  phase: RefreshPhase;
  challenge: ShownChallenge | null;
  challengeState: string | null;
  challengedAt: number | null;
  challengeExpiresAt: number | null;
  answer: string | null;
  refreshedAccountsCount: number | null;
  totalAccountsCount: number | null;
  status: number | null;
  statusCodeInfo: string | null;
  epoch: number;
  startedAt: number;
  finishedAt: number | null;
};

type RefreshRow = {
  id: string;
  item_id: number;
  application_id: string;
  user_uuid: string;
  cause: RefreshCause;
  state: RefreshState;
  phase: RefreshPhase;
  challenge: string | null;
  challenge_state: string | null;
  challenged_at: number | null;
  challenge_expires_at: number | null;
  answer: string | null;
  refreshed_accounts_count: number | null;
  total_accounts_count: number | null;
  status: number | null;
  status_code_info: string | null;
  epoch: number;
  started_at: number;
  finished_at: number | null;
};

function fromRow(row: RefreshRow): Refresh {
  return {
    id: row.id,
    itemId: row.item_id,
    applicationId: row.application_id,
    userUuid: row.user_uuid,
    cause: row.cause,
    state: row.state,
    phase: row.phase,
    challenge: row.challenge === null ? null : (JSON.parse(row.challenge) as ShownChallenge),
    challengeState: row.challenge_state,
    challengedAt: row.challenged_at,
    challengeExpiresAt: row.challenge_expires_at,
    answer: row.answer,
    refreshedAccountsCount: row.refreshed_accounts_count,
    totalAccountsCount: row.total_accounts_count,
    status: row.status,
    statusCodeInfo: row.status_code_info,
    epoch: row.epoch,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  };
}

export async function findRefresh(reader: Reader, id: string): Promise<Refresh | null> {
  const row = await reader.first<RefreshRow>(sql`select * from refreshes where id = ${id}`);
  return row ? fromRow(row) : null;
}

export async function latestRefresh(reader: Reader, itemId: number): Promise<Refresh | null> {
  const row = await reader.first<RefreshRow>(
    sql`select * from refreshes where item_id = ${itemId} order by started_at desc, id desc limit 1`,
  );
  return row ? fromRow(row) : null;
}

export type RefreshRequest = {
  item: { id: number; applicationId: string; userUuid: string };
  cause: RefreshCause;
  phase: RefreshPhase;
  /** The application's clock. */
  startedAt: number;
  /** Real time. */
  runAt: number;
};

const OPEN_TRIES = 3;

/** Asks for a refresh; where one of the item is open already, joins it. Answers which will run. */
export async function requestRefresh(tx: Writer, request: RefreshRequest): Promise<{ id: string; joined: boolean }> {
  const id = randomId('rfr');
  const { item } = request;
  // The open one may finish between our two statements; then the next try opens ours.
  for (let tries = 0; tries < OPEN_TRIES; tries += 1) {
    await tx.run(sql`
    insert into refreshes (id, item_id, application_id, user_uuid, cause, state, phase, started_at, run_at)
    values (${id}, ${item.id}, ${item.applicationId}, ${item.userUuid}, ${request.cause}, 'authenticating', ${request.phase},
            ${request.startedAt}, ${request.runAt})
    on conflict do nothing`);
    const open = await tx.first<{ id: string }>(sql`select id from refreshes where item_id = ${item.id} and finished_at is null`);
    if (open) return { id: open.id, joined: open.id !== id };
  }
  throw new Error(`item ${item.id}: no refresh could be opened`);
}

/** Takes runnable refreshes for `leaseMs`; a worker that dies frees them by the passing of time. */
export async function claimRefreshes(
  tx: Writer,
  storage: Pick<Storage, 'forUpdateSkipLocked'>,
  options: { now: number; leaseMs: number; limit: number; applicationId?: string },
): Promise<Refresh[]> {
  const scope = options.applicationId ? sql`and application_id = ${options.applicationId}` : sql``;
  const rows = await tx.all<RefreshRow>(sql`
    update refreshes set run_at = ${options.now + options.leaseMs}, epoch = epoch + 1, running = 1
    where id in (
      select id from refreshes where finished_at is null and run_at <= ${options.now} ${scope}
      order by run_at limit ${options.limit}${storage.forUpdateSkipLocked}
    )
    returning *`);
  return rows.map(fromRow);
}

/** Every write of a run is fenced by the epoch under which it was claimed; false means that another worker has it now. */
export async function showProgress(
  tx: Writer,
  refresh: Pick<Refresh, 'id' | 'epoch'>,
  progress: { state: RefreshState; refreshed: number | null; total: number | null },
): Promise<boolean> {
  const changed = await tx.run(sql`
    update refreshes set state = ${progress.state}, refreshed_accounts_count = ${progress.refreshed}, total_accounts_count = ${progress.total}
    where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`);
  return changed === 1;
}

export async function showChallenge(
  tx: Writer,
  refresh: Pick<Refresh, 'id' | 'epoch'>,
  shown: { challenge: ShownChallenge; state: string; challengedAt: number; expiresAt: number; runAt: number },
): Promise<boolean> {
  const changed = await tx.run(sql`
    update refreshes set state = 'info_required', challenge = ${JSON.stringify(shown.challenge)}, challenge_state = ${shown.state},
      challenged_at = ${shown.challengedAt}, challenge_expires_at = ${shown.expiresAt}, answer = null, run_at = ${shown.runAt}, running = 0
    where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`);
  return changed === 1;
}

/** Hands the user's code to the waiting refresh; false where it no longer waits. */
export async function answerChallenge(tx: Writer, refreshId: string, sealedAnswer: string, now: number): Promise<boolean> {
  const changed = await tx.run(sql`
    update refreshes set answer = ${sealedAnswer}, state = 'authenticating', run_at = ${now}
    where id = ${refreshId} and state = 'info_required' and finished_at is null`);
  return changed === 1;
}

export type FinishedRefresh = {
  state: 'finished' | 'invalid_creds' | 'finished_error';
  status: number;
  statusCodeInfo: string | null;
  fullRefresh: boolean;
  refreshed: number | null;
  total: number | null;
  record: string;
  /** W3C trace context of the run: its events carry it on. */
  traceparent: string;
  /** The application's clock. */
  finishedAt: number;
};

/** Closes the record; false where the run was fenced off, and then nothing else of its transaction may stand. */
export async function finishRefresh(tx: Writer, refresh: Pick<Refresh, 'id' | 'epoch'>, finished: FinishedRefresh): Promise<boolean> {
  const changed = await tx.run(sql`
    update refreshes set state = ${finished.state}, status = ${finished.status}, status_code_info = ${finished.statusCodeInfo},
      full_refresh = ${finished.fullRefresh ? 1 : 0}, refreshed_accounts_count = ${finished.refreshed},
      total_accounts_count = ${finished.total}, record = ${finished.record}, traceparent = ${finished.traceparent}, challenge = null, challenge_state = null, answer = null,
      finished_at = ${finished.finishedAt}
    where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`);
  return changed === 1;
}

/** Whether a run may still write: false where another worker has the refresh, or where it was erased with its item. */
export async function isClaimed(reader: Reader, refresh: Pick<Refresh, 'id' | 'epoch'>): Promise<boolean> {
  const row = await reader.first(
    sql`select id from refreshes where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`,
  );
  return row !== undefined;
}

/** Gives a claim back, to run again at `runAt` (real time). */
export async function releaseRefresh(tx: Writer, refresh: Pick<Refresh, 'id' | 'epoch'>, runAt: number): Promise<void> {
  await tx.run(
    sql`update refreshes set run_at = ${runAt}, running = 0 where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`,
  );
}

/** A test clock went forward: what waits for a moment of the application's time comes nearer in real time. Claims stay as long as they are. */
export async function bringRefreshesNearer(tx: Writer, applicationId: string, byMs: number): Promise<void> {
  await tx.run(sql`
    update refreshes set run_at = run_at - ${byMs}, challenge_expires_at = challenge_expires_at - ${byMs}
    where application_id = ${applicationId} and finished_at is null and running = 0`);
}

/** An application's open refreshes: how many a worker has now, and when the first of the others can be taken (real time). */
export async function openRefreshes(reader: Reader, applicationId: string): Promise<{ running: number; nextRunAt: number | null }> {
  const row = await reader.first<{ running: number | null; next_run_at: number | null }>(sql`
    select sum(running) as running, min(case when running = 0 then run_at end) as next_run_at from refreshes
    where application_id = ${applicationId} and finished_at is null`);
  return { running: Number(row?.running ?? 0), nextRunAt: row?.next_run_at ?? null };
}

/** The next moment at which a refresh can be taken or an item falls due, real time; null when there is neither. */
export const nextWork = sql`
  select min(work.at) as at from (
    select min(run_at) as at from refreshes where finished_at is null union all select min(due_at) from items where due_at is not null
  ) as work`;

export async function nextWorkAt(reader: Reader): Promise<number | null> {
  const row = await reader.first<{ at: number | null }>(nextWork);
  return row?.at ?? null;
}
