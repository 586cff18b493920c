/** How a run ends: its plan, or its failure, becomes an ending, which is committed whole, fenced by the epoch of its claim. */
import type { AccountRecord } from '../accounts/accounts.ts';
import { DAY_MS, isoDate } from '../base/clock.ts';
import type { CalendarDate, Failure, Json, ObservedAccount, StatusCode } from '../connectors/connector.ts';
import { defaultInfo } from '../connectors/statuses.ts';
import type { EventDraft } from '../events/catalogue.ts';
import { forgetCredentials } from '../items/items.ts';
import { type FinishedRefresh, type RefreshPhase, requestRefresh } from '../items/refreshes.ts';
import type { BankAnswer, FetchedAccount, LoginOutcome } from './bank.ts';
import { completesConnection, isAttended, type RowsToCompare, type Run } from './context.ts';
import type { AccountOutcome } from './detection/accounts.ts';
import { DAYS_BEFORE_WINDOW } from './detection/window.ts';
import type { Ending } from './endings.ts';
import { identifyAccounts, type Plan, planRefresh } from './plan.ts';
import type { AccountNote, RefreshRecord } from './record.ts';
import { type Settled, settledBefore, TOMBSTONES_MS } from './same-answer.ts';
import { isBankFailure } from './schedule/circuit.ts';
import type { CircuitChange } from './schedule/circuits.ts';
import { fingerprintOf, statePlace } from './sealed.ts';
import type { RefreshServices } from './services.ts';
import { type PlanRows, rowsOfPlan, rowsWritten } from './write.ts';

/** The full history follows the first data after this pause, so that the user's pages have what they wait for first. */
const FULL_HISTORY_DELAY_MS = 2_000;

type Answered = Extract<BankAnswer, { kind: 'answered' }>;
/** What the answer, or the failure, decides about the ending. */
type Outcome = {
  finished: Omit<FinishedRefresh, 'id' | 'epoch' | 'traceparent' | 'finishedAt'>;
  drafts: readonly EventDraft[];
  /** The bank let us in and showed an account: the credentials are good, whatever another account said. */
  connected: boolean;
  fullRefreshWanted: boolean;
  /** Both absent: as they were. */
  keep?: Json | undefined;
  consentExpiresAt?: number | null | undefined;
  /** At the login, at the list of accounts, or at every account that the bank was asked for. */
  failedWhole: boolean;
  /** The accounts that fail while others answer; null where none does, or the refresh failed as a whole. */
  someFailed: readonly AccountRecord[] | null;
  /** Others that had answered before were not asked again. */
  onlySome: boolean;
  /** How long the bank asks to be left in peace, the longest of its failures; null where it does not. */
  retryAfterMs: number | null;
  /** Null where no account was looked at. */
  rowsAt: ((timestamps: readonly number[]) => PlanRows) | null;
  rows: number;
};

export async function commitAnswer(services: RefreshServices, run: Run, answer: Answered): Promise<void> {
  const decisions = identifyAccounts(run.accounts, answer, run.now);
  const comparisons = await compare(run, answer, decisions);
  const accountIds = await services.counters.reserve('accounts', decisions.created.length);
  const { item, now, refresh, pendingTransition, accounts: stored } = run;
  const plan = planRefresh(
    { item, refreshId: refresh.id, answer, stored, ...comparisons, phase: refresh.phase, pendingTransition, now },
    decisions,
    accountIds,
  );
  const born = plan.accounts.reduce((count, { rows: { created } }) => count + created.length, 0);
  const rowIds = await services.counters.reserve('transactions', born);
  const list = { complete: answer.listComplete, accounts: plan.total, anomaly: plan.anomaly };
  const owner = { itemId: item.id, userUuid: item.userUuid, bankId: item.bankId, touchedAt: run.accountsUpdatedAt };
  const finished = plan.status === 0 || plan.status === 1009;
  await finish(services, run, {
    finished: {
      state: finished ? 'finished' : 'finished_error',
      status: plan.status,
      statusCodeInfo: plan.statusCodeInfo,
      fullRefresh: plan.fullRefresh,
      refreshed: plan.refreshed,
      total: plan.total,
      record: recordOf(run, list, notesOf(plan)),
    },
    drafts: plan.drafts,
    connected: finished || plan.refreshed > 0,
    fullRefreshWanted: wantsFullRefresh(plan, refresh.phase, item.fullRefreshWanted && !isOfFiles(run)),
    keep: answer.keep,
    consentExpiresAt: answer.consentExpiresAt,
    ...failuresOf(answer, plan),
    rowsAt: (timestamps) => rowsOfPlan(owner, refresh.id, plan, rowIds, timestamps),
    rows: rowsWritten(plan),
  });
}

/** What was wanted before is owed until a full one has answered. */
export function wantsFullRefresh(plan: Pick<Plan, 'fullRefreshWanted'>, phase: RefreshPhase, wantedBefore: boolean): boolean {
  return plan.fullRefreshWanted || (phase !== 'full' && wantedBefore);
}

function isOfFiles({ connector }: Run): boolean {
  return connector?.bank.input === 'files';
}

/** A bank that lets everybody in and then fails for every account is as down as one that lets nobody in. */
function failuresOf({ accounts }: Answered, plan: Plan): Pick<Outcome, 'failedWhole' | 'someFailed' | 'onlySome' | 'retryAfterMs'> {
  const asked = accounts.filter(({ answer }) => answer.kind !== 'spared');
  // Where only those that had failed were asked, the others stand for the bank.
  const onlySome = accounts.some(({ answer }) => answer.kind === 'spared' && answer.because === 'answered');
  const failures = asked.flatMap(({ answer }) => (answer.kind === 'failed' ? [answer] : []));
  const waits = failures.flatMap(({ retryAfterMs }) => retryAfterMs ?? []);
  const failedWhole = failures.length > 0 && failures.length === asked.length && !onlySome;
  const failing = plan.accounts.filter(({ record }) => record.deletedAt === null && isBankFailure(record.status));
  return {
    failedWhole,
    someFailed: failedWhole || plan.anomaly !== null || failing.length === 0 ? null : failing.map(({ record }) => record),
    onlySome,
    retryAfterMs: waits.length === 0 ? null : Math.max(...waits),
  };
}

export async function commitFailure(services: RefreshServices, run: Run, failure: Omit<Failure, 'kind'> & LoginOutcome): Promise<void> {
  const { item } = run;
  const { status, keep, consentExpiresAt } = failure;
  // As the item shows it.
  const info = failure.info ?? defaultInfo(status);
  const owner = { itemId: item.id, userUuid: item.userUuid };
  const refreshed: EventDraft = { type: 'item.refreshed', ...owner, fullRefresh: false, statusCode: status, statusCodeInfo: info };
  await finish(services, run, {
    finished: {
      state: status === 402 ? 'invalid_creds' : 'finished_error',
      status,
      statusCodeInfo: info,
      fullRefresh: false,
      refreshed: null,
      total: null,
      record: recordOf(run, null, []),
    },
    drafts: [refreshed],
    connected: false,
    fullRefreshWanted: item.fullRefreshWanted,
    keep,
    consentExpiresAt,
    failedWhole: true,
    someFailed: null,
    onlySome: false,
    retryAfterMs: failure.retryAfterMs ?? null,
    rowsAt: null,
    rows: 0,
  });
}

function recordOf({ calls, refresh }: Run, list: RefreshRecord['list'], accounts: readonly AccountNote[]): string {
  return JSON.stringify({ calls, attended: isAttended(refresh), list, accounts } satisfies RefreshRecord);
}

function notesOf(plan: Plan): AccountNote[] {
  return plan.accounts.map(({ note }) => note);
}

type Comparisons = {
  rows: Awaited<ReturnType<RowsToCompare>>;
  since: Map<number, CalendarDate | null>;
  settled: Map<number, Settled>;
};

/** Reads the stored rows that the answer can be about, but for accounts whose answer is the same as one that found nothing. */
async function compare(run: Run, answer: Answered, decisions: AccountOutcome): Promise<Comparisons> {
  const { since, settled, read } = comparedRows({ ...run, phase: run.refresh.phase, ofFiles: isOfFiles(run) }, answer, decisions);
  return { rows: await run.rowsToCompare(read, run.now - TOMBSTONES_MS), since, settled };
}

type Compared = { accounts: readonly AccountRecord[]; phase: RefreshPhase; ofFiles: boolean; now: number };

/** From which date the stored rows of each answered account are compared (null for all), and `read` of those that are not settled. */
export function comparedRows(
  { accounts, phase, ofFiles, now }: Compared,
  answer: Answered,
  { matched }: AccountOutcome,
): Omit<Comparisons, 'rows'> & { read: { id: number; since: CalendarDate | null }[] } {
  const since = new Map<number, CalendarDate | null>();
  const settled = new Map<number, Settled>();
  const known = new Map(accounts.map((account) => [account.id, account]));
  const answers = new Map<ObservedAccount, FetchedAccount['answer']>(answer.accounts.map((fetched) => [fetched.account, fetched.answer]));
  for (const { stored, observed } of matched) {
    const fetched = answers.get(observed)!;
    if (fetched.kind !== 'fetched') continue;
    const from = phase === 'full' || ofFiles ? null : compareSince(fetched, now);
    since.set(stored.id, from);
    const account = known.get(stored.id)!;
    const again = settledBefore({ account, batches: fetched.batches, since: from, now });
    if (again) settled.set(account.id, again);
  }
  const read = [...since].filter(([id]) => !settled.has(id)).map(([id, from]) => ({ id, since: from }));
  return { since, settled, read };
}

/**
 * From the earliest date that the answer speaks of, with a margin for rows that moved; null for all rows. A booked row without a
 * date speaks of the day on which it was first seen, however long ago that is. What is not booked is always read.
 */
function compareSince({ batches }: Extract<FetchedAccount['answer'], { kind: 'fetched' }>, now: number): CalendarDate | null {
  let earliest = isoDate(now);
  for (const { coverage, observations } of batches) {
    for (const { from } of coverage.windows) if (from < earliest) earliest = from;
    for (const row of observations) {
      const date = row.bookingDate ?? row.transactionDate ?? row.valueDate;
      if (date === undefined && row.status === 'booked') return null;
      if (date !== undefined && date < earliest) earliest = date;
    }
  }
  return isoDate(Date.parse(earliest) - DAYS_BEFORE_WINDOW * DAY_MS);
}

/** Commits the ending, then tells of it. */
async function finish(services: RefreshServices, run: Run, outcome: Outcome): Promise<void> {
  const { refresh, item } = run;
  const { ending, circuit } = await endingOf(services, run, outcome);
  const committed = await run.endings.commit(ending);
  if (committed === null) return;
  const durationMs = performance.now() - run.startedAt;
  const { status, statusCodeInfo, fullRefresh } = ending.finished;
  // Where it is told that its claim does not stand, it may have been written by a commit that nobody heard of.
  services.onEvents();
  if (committed) {
    const named = { refreshId: refresh.id, itemId: item.id, bankId: item.bankId, cause: refresh.cause, status };
    services.onRefreshed?.({ ...named, traceparent: run.traceparent, endedAt: services.clock.now(), durationMs });
  }
  if (committed && circuit !== null) services.log.warn({ bank: item.bankId, circuit }, 'bank circuit');
  services.log.info(
    {
      refresh: refresh.id,
      item: item.id,
      bank: item.bankId,
      cause: refresh.cause,
      phase: refresh.phase,
      status,
      info: statusCodeInfo,
      events: outcome.drafts.length,
      full_refresh: fullRefresh,
      fenced_off: !committed,
      took_ms: Math.round(durationMs),
    },
    'refresh',
  );
}

/** Everything that an ending writes, worked out before its transaction; `circuit` is what it says to its bank's. */
async function endingOf(services: RefreshServices, run: Run, outcome: Outcome): Promise<{ ending: Ending; circuit: CircuitChange }> {
  const { refresh, item, pacing } = run;
  const { drafts } = outcome;
  const realNow = services.clock.now();
  // Banks take their time: events and rows carry the moment of the commit, so that who asks for changes since then misses none.
  const now = realNow + run.clockOffsetMs;
  const finished = { ...outcome.finished, id: refresh.id, epoch: refresh.epoch, traceparent: run.traceparent, finishedAt: now };
  const { connected } = outcome;
  // The full history after the first data, and after a renewed consent, which may show more than the old one. Uploaded files
  // were read, and are gone: there is nobody to ask for more.
  const visited = refresh.cause === 'connect' && refresh.phase !== 'full' && item.fullRefreshWanted;
  const historyOwed = !isOfFiles(run) && (refresh.phase === 'recent' || visited);
  const consentExpiresAt = outcome.consentExpiresAt !== undefined ? outcome.consentExpiresAt : item.consentExpiresAt;
  const { dueAt, schedule, circuit, fullRefreshDue, mayComplete } = await pacing.end(
    {
      status: finished.status as StatusCode,
      failedWhole: outcome.failedWhole,
      someFailed: outcome.someFailed,
      full: connected && refresh.phase === 'full',
      connectedOnce: connected || item.connectedOnce,
      retryAfterMs: outcome.retryAfterMs,
      consentExpiresAt,
    },
    () => fingerprintOf(services, item),
    services.outcomes,
    now,
  );
  const followed = connected && historyOwed && !finished.fullRefresh && mayComplete;
  const connectorState =
    outcome.keep === undefined
      ? item.connectorState
      : await services.vault.seal(services.storage, item.dataKeyId, statePlace(item), JSON.stringify(outcome.keep));

  const { credentials } = item;
  const alone: Ending['alone'][number][] = [];
  if (isOfFiles(run) && credentials !== null) alone.push((tx) => forgetCredentials(tx, item.id, credentials));
  if (circuit !== null) alone.push((tx) => pacing.writeCircuit(tx, circuit, now));
  if (followed) {
    const completion = { item, cause: 'completion', phase: 'full', startedAt: now + 1, runAt: realNow + FULL_HISTORY_DELAY_MS } as const;
    alone.push((tx) => requestRefresh(tx, completion));
  }
  const ending: Ending = {
    finished,
    userUuid: item.userUuid,
    now,
    origin: { applicationId: item.applicationId, refreshId: refresh.id, committedAt: realNow, traceparent: run.traceparent },
    drafts,
    item: {
      id: item.id,
      status: finished.status,
      statusCodeInfo: finished.statusCodeInfo,
      connected,
      historyComplete: item.historyComplete || finished.fullRefresh,
      fullRefreshWanted: outcome.fullRefreshWanted || fullRefreshDue,
      keepsFullWish: refresh.phase !== 'full' && !item.fullRefreshWanted,
      connectorState,
      dueAt,
      schedule,
      consentExpiresAt,
      refreshedAt: now,
      refreshes: completesConnection(refresh) ? 0 : 1,
    },
    rowsAt: outcome.rowsAt,
    alone,
    rows: outcome.rows,
    onlySome: outcome.onlySome,
  };
  return { ending, circuit };
}
