/**
 * Refresh records: the queue of the refresh worker, the state that Connect and the API show, and the audit afterwards.
 *
 *   authenticating -> retrieving_data -> finished | finished_error
 *         |    ^
 *         v    | (a code, an approval)
 *   info_required -> invalid_creds | finished_error (the challenge expired)
 */
import { randomId } from '../base/random.ts';
import { sql, sqlList, sqlTable } from '../storage/sql.ts';
import type { Reader, Storage, Writer } from '../storage/storage.ts';

/** `completion`: the second half of a first connection, the full history after the first data. */
export type RefreshCause = 'connect' | 'completion' | 'api' | 'scheduler';
export type RefreshState = 'authenticating' | 'retrieving_data' | 'info_required' | 'finished' | 'invalid_creds' | 'finished_error';
export type RefreshPhase = 'recent' | 'full' | 'incremental';

/** What the next refresh of an item asks for. */
export function nextPhase({ connectedOnce, fullRefreshWanted }: { connectedOnce: boolean; fullRefreshWanted: boolean }): RefreshPhase {
  if (!connectedOnce) return 'recent';
  return fullRefreshWanted ? 'full' : 'incremental';
}

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
  /** Runs that failed by a fault of ours. */
  failedRuns: number;
  /** Those of them that ended without a word: each may have been a login that nobody has counted. */
  silentRuns: number;
  /** The failure that its bank answered in a run that could not be written, as JSON. */
  heard: string | null;
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
  failed_runs: number;
  silent_runs: number;
  heard: string | null;
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
    failedRuns: row.failed_runs,
    silentRuns: row.silent_runs,
    heard: row.heard,
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

/** Whether somebody waits for it: a user in Connect, or the customer's program. The claim of these has an index with the same words. */
export function isWatched({ cause }: Pick<Refresh, 'cause'>): boolean {
  return cause === 'connect' || cause === 'api';
}

const WATCHED = sql`cause in ('connect', 'api')`;
/** Whose word one that has not begun follows when it is joined: who is present decides what may be asked of the bank. */
const OUTRANKED: Record<RefreshCause, readonly RefreshCause[]> = {
  connect: ['api', 'scheduler'],
  api: ['scheduler'],
  completion: [],
  scheduler: [],
};

/** The worker had claimed it and died, or was given up: a run that failed. */
const SILENT = sql`failed_runs = failed_runs + running, silent_runs = silent_runs + running`;

/** The refresh that will run, or runs already. */
export type RequestedRefresh = { id: string; joined: boolean; phase: RefreshPhase };

/** Asks for a refresh; where one of the item is open already, joins it. Answers which will run. */
export async function requestRefresh(tx: Writer, request: RefreshRequest): Promise<RequestedRefresh> {
  const id = randomId('rfr');
  const { item } = request;
  // The open one may finish between our two statements; then the next try opens ours.
  for (let tries = 0; tries < OPEN_TRIES; tries += 1) {
    await tx.run(sql`
    insert into refreshes (id, item_id, application_id, user_uuid, cause, state, phase, started_at, run_at)
    values (${id}, ${item.id}, ${item.applicationId}, ${item.userUuid}, ${request.cause}, 'authenticating', ${request.phase},
            ${request.startedAt}, ${request.runAt})
    on conflict do nothing`);
    const open = await tx.first<{ id: string; phase: RefreshPhase }>(
      sql`select id, phase from refreshes where item_id = ${item.id} and finished_at is null`,
    );
    if (open && open.id !== id) await rank(tx, open.id, request);
    if (open) return { ...open, joined: open.id !== id };
  }
  throw new Error(`item ${item.id}: no refresh could be opened`);
}

async function rank(tx: Writer, id: string, { cause, runAt }: RefreshRequest): Promise<void> {
  if (OUTRANKED[cause].length > 0)
    await tx.run(sql`update refreshes set cause = ${cause} where id = ${id} and cause in ${sqlList(OUTRANKED[cause])} and running = 0`);
  // Who stands before it does not wait out the pause after a run that failed, and what failed before they came is not held against it.
  if (cause === 'connect')
    await tx.run(sql`
      update refreshes set run_at = ${runAt}, failed_runs = case when cause = 'connect' then 0 else failed_runs end, heard = null
      where id = ${id} and running = 0 and (failed_runs > 0 or heard is not null) and challenge_state is null`);
}

const requestedTable = sqlTable({
  id: 'text',
  item_id: 'bigint',
  application_id: 'text',
  user_uuid: 'text',
  cause: 'text',
  phase: 'text',
  started_at: 'bigint',
  run_at: 'bigint',
});

/** Asks for refreshes of different items; where one of an item is open already, it stays the only one. */
export async function requestRefreshes(tx: Writer, requests: readonly RefreshRequest[]): Promise<void> {
  if (requests.length === 0) return;
  const requested = requestedTable(
    requests.map(({ item, cause, phase, startedAt, runAt }) => ({
      id: randomId('rfr'),
      item_id: item.id,
      application_id: item.applicationId,
      user_uuid: item.userUuid,
      cause,
      phase,
      started_at: startedAt,
      run_at: runAt,
    })),
  );
  await tx.run(sql`
    insert into refreshes (id, item_id, application_id, user_uuid, cause, state, phase, started_at, run_at)
    select id, item_id, application_id, user_uuid, cause, 'authenticating', phase, started_at, run_at from ${requested} as requested
    where true on conflict do nothing`);
}

/**
 * Takes runnable refreshes for `leaseMs`, of all or only of those that somebody waits for; a worker that dies frees them by the
 * passing of time. `claimant` is the life of a node: while it takes part, others know by that when it has died. Any other claim
 * is nobody's, and is freed by time alone.
 */
export async function claimRefreshes(
  tx: Writer,
  storage: Pick<Storage, 'forUpdateSkipLocked'>,
  options: { now: number; leaseMs: number; limit: number; applicationId?: string; watched?: boolean; claimant?: string | null },
): Promise<Refresh[]> {
  const ofOne = options.applicationId ? sql`and application_id = ${options.applicationId}` : sql``;
  const scope = options.watched ? sql`${ofOne} and ${WATCHED}` : ofOne;
  const claimedBy = options.claimant == null ? sql`null` : sql`(select life from nodes where life = ${options.claimant})`;
  const rows = await tx.all<RefreshRow>(sql`
    update refreshes set run_at = ${options.now + options.leaseMs}, epoch = epoch + 1, running = 1, ${SILENT}, claimed_by = ${claimedBy}
    where id in (
      select id from refreshes where finished_at is null and run_at <= ${options.now} ${scope}
      order by run_at limit ${options.limit}${storage.forUpdateSkipLocked}
    )
    returning *`);
  return rows.map(fromRow);
}

/** Frees what a worker that died had claimed. Only for whoever knows that no other one runs. */
export async function freeClaims(tx: Writer, now: number): Promise<void> {
  await tx.run(sql`update refreshes set run_at = ${now}, running = 0, ${SILENT} where finished_at is null and running = 1`);
}

const orphaned = sql`finished_at is null and running = 1 and claimed_by is not null and claimed_by not in (select life from nodes)`;

/**
 * Frees what was claimed by nodes that take part no more: whoever takes out a node, or has its id in a new life, knows that it is
 * dead. One that only stood still may end its run all the same, until another worker has claimed it.
 */
export async function freeOrphans(tx: Writer, storage: Pick<Storage, 'forUpdateSkipLocked'>, now: number): Promise<number> {
  return tx.run(sql`
    update refreshes set run_at = ${now}, running = 0, ${SILENT}, claimed_by = null
    where id in (select id from refreshes where ${orphaned} order by id${storage.forUpdateSkipLocked})`);
}

/** Held until the commit. Before the item's own row, as an ending takes them: a new one waits for the end of the one that is open. */
export async function holdOpenRefresh(tx: Writer, { forUpdate }: Pick<Storage, 'forUpdate'>, itemId: number): Promise<void> {
  await tx.all(sql`select id from refreshes where item_id = ${itemId} and finished_at is null${forUpdate}`);
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
      challenged_at = ${shown.challengedAt}, challenge_expires_at = ${shown.expiresAt}, answer = null, run_at = ${shown.runAt}, running = 0,
      epoch = epoch + 1, silent_runs = 0
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

/** How a refresh ended; `id` and `epoch` are those of the claim that ran it. */
export type FinishedRefresh = Pick<Refresh, 'id' | 'epoch'> & {
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

const finishedTable = sqlTable({
  refresh_id: 'text',
  claim_epoch: 'bigint',
  end_state: 'text',
  end_status: 'bigint',
  end_info: 'text',
  end_full: 'bigint',
  refreshed: 'bigint',
  total: 'bigint',
  end_record: 'text',
  end_traceparent: 'text',
  ended_at: 'bigint',
});

/** Closes the records. Answers the ids of those that stand: of the others, which were fenced off, nothing else may be written. */
export async function finishRefreshes(tx: Writer, finished: readonly FinishedRefresh[]): Promise<ReadonlySet<string>> {
  const ended = finishedTable(
    finished.map((one) => ({
      refresh_id: one.id,
      claim_epoch: one.epoch,
      end_state: one.state,
      end_status: one.status,
      end_info: one.statusCodeInfo,
      end_full: one.fullRefresh ? 1 : 0,
      refreshed: one.refreshed,
      total: one.total,
      end_record: one.record,
      end_traceparent: one.traceparent,
      ended_at: one.finishedAt,
    })),
  );
  const rows = await tx.all<{ id: string }>(sql`
    update refreshes set state = end_state, status = end_status, status_code_info = end_info, full_refresh = end_full,
      refreshed_accounts_count = refreshed, total_accounts_count = total, record = end_record, traceparent = end_traceparent,
      challenge = null, challenge_state = null, answer = null, heard = null, finished_at = ended_at
    from ${ended} as ended where id = refresh_id and epoch = claim_epoch and finished_at is null
    returning id`);
  return new Set(rows.map(({ id }) => id));
}

const WORKED_OUT_COLUMNS = [
  'id',
  'item_id',
  'application_id',
  'user_uuid',
  'cause',
  'state',
  'phase',
  'refreshed_accounts_count',
  'total_accounts_count',
  'status',
  'status_code_info',
  'full_refresh',
  'record',
  'traceparent',
  'epoch',
  'running',
  'started_at',
  'run_at',
  'finished_at',
] as const;

/** A refresh that was never open: it was worked out, and is written with its end. `endedAt` is real time. */
export type WorkedOutRefresh = { refresh: Refresh; finished: FinishedRefresh; endedAt: number };

export async function insertFinished(tx: Writer, workedOut: readonly WorkedOutRefresh[]): Promise<void> {
  await tx.insertMany(
    'refreshes',
    WORKED_OUT_COLUMNS,
    workedOut.map(({ refresh, finished, endedAt }) => [
      refresh.id,
      refresh.itemId,
      refresh.applicationId,
      refresh.userUuid,
      refresh.cause,
      finished.state,
      refresh.phase,
      finished.refreshed,
      finished.total,
      finished.status,
      finished.statusCodeInfo,
      finished.fullRefresh ? 1 : 0,
      finished.record,
      finished.traceparent,
      finished.epoch,
      1,
      refresh.startedAt,
      endedAt,
      finished.finishedAt,
    ]),
  );
}

/** Whether a run may still write: false where another worker has the refresh, or where it was erased with its item. */
export async function isClaimed(reader: Reader, refresh: Pick<Refresh, 'id' | 'epoch'>): Promise<boolean> {
  const row = await reader.first(
    sql`select id from refreshes where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`,
  );
  return row !== undefined;
}

/**
 * Ends a claim, to run again at `runAt` (real time); false where another worker has it now. `begun`: whoever gives it back
 * counts the logins of runs that ended without a word. `served`: the challenge, if there was one, is over. `heard`: the next
 * run ends with this.
 */
export async function releaseRefresh(
  tx: Writer,
  refresh: Pick<Refresh, 'id' | 'epoch' | 'silentRuns'>,
  { runAt, failedRuns, begun, served, heard }: { runAt: number; failedRuns: number; begun: boolean; served: boolean; heard: string | null },
): Promise<boolean> {
  const cleared = served
    ? sql`, state = 'authenticating', challenge = null, challenge_state = null, challenged_at = null, challenge_expires_at = null, answer = null`
    : sql``;
  const changed = await tx.run(sql`
    update refreshes set run_at = ${runAt}, running = 0, epoch = epoch + 1, failed_runs = ${failedRuns}, silent_runs = ${begun ? 0 : refresh.silentRuns},
      heard = ${heard}${cleared}
    where id = ${refresh.id} and epoch = ${refresh.epoch} and finished_at is null`);
  return changed === 1;
}

/** A test clock went forward: what waits for a moment of the application's time comes nearer in real time. Claims stay as long as they are. */
export async function bringRefreshesNearer(tx: Writer, applicationId: string, byMs: number): Promise<void> {
  await tx.run(sql`
    update refreshes set run_at = run_at - ${byMs}, challenge_expires_at = challenge_expires_at - ${byMs}
    where application_id = ${applicationId} and finished_at is null and running = 0`);
}

/** Before all that has a time. */
export const ORPHANED_AT = 0;

/** The next moment at which a refresh can be taken or an item falls due, real time; {@link ORPHANED_AT} when there is one to be freed; null when there is nothing. */
export const nextWork = sql`
  select min(work.at) as at from (
    select min(run_at) as at from refreshes where finished_at is null
    union all select min(due_at) from items where due_at is not null
    union all select case when exists (select 1 from refreshes where ${orphaned}) then 0 end
  ) as work`;

export async function nextWorkAt(reader: Reader): Promise<number | null> {
  const row = await reader.first<{ at: number | null }>(nextWork);
  return row?.at ?? null;
}

export async function countOpenRefreshes(reader: Reader): Promise<number> {
  const row = await reader.first<{ refreshes: number }>(sql`select count(*) as refreshes from refreshes where finished_at is null`);
  return row?.refreshes ?? 0;
}
