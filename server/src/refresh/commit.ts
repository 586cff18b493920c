/** How a run ends: its plan, or its failure, in one transaction, fenced by the epoch of its claim, with its events last. */
import { DAY_MS, isoDate } from '../base/clock.ts';
import type { CalendarDate, Failure, Json, ObservedAccount, StatusCode } from '../connectors/connector.ts';
import type { EventDraft } from '../events/catalogue.ts';
import { appendEvents, takeTimestamps } from '../events/log.ts';
import { updateRefreshedItem } from '../items/items.ts';
import { type FinishedRefresh, finishRefresh, requestRefresh } from '../items/refreshes.ts';
import type { Writer } from '../storage/storage.ts';
import { rowsToCompare } from '../transactions/transactions.ts';
import type { BankAnswer, FetchedAccount } from './bank.ts';
import type { AccountOutcome } from './detection/accounts.ts';
import { identifyAccounts, type Plan, planRefresh } from './plan.ts';
import type { AccountNote, RefreshRecord } from './record.ts';
import { completesConnection, fingerprintOf, isAttended, type RefreshServices, type Run, statePlace } from './run.ts';
import { type Settled, settledBefore, TOMBSTONES_MS } from './same-answer.ts';
import { writePlan } from './write.ts';

/** The full history follows the first data after this pause, so that the user's pages have what they wait for first. */
const FULL_HISTORY_DELAY_MS = 2_000;
/** Rows dated before the window may still be the ones that moved into it. */
const WINDOW_MARGIN_MS = 30 * DAY_MS;

type Answered = Extract<BankAnswer, { kind: 'answered' }>;
type Ending = {
  finished: Omit<FinishedRefresh, 'traceparent' | 'finishedAt'>;
  drafts: readonly EventDraft[];
  fullRefreshWanted: boolean;
  keep?: Json | undefined;
  /** Absent: as it was. */
  consentExpiresAt?: number | null | undefined;
  /** Why the whole refresh failed; null where the bank answered. */
  failure: Omit<Failure, 'kind'> | null;
  /** Null where no account was looked at. */
  write: ((tx: Writer, timestamps: readonly number[]) => Promise<void>) | null;
};

export async function commitAnswer(services: RefreshServices, run: Run, answer: Answered): Promise<void> {
  const decisions = identifyAccounts(run.accounts, answer, run.now);
  const comparisons = await compare(services, run, answer, decisions);
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
  await finish(services, run, {
    finished: {
      state: plan.status === 0 || plan.status === 1009 ? 'finished' : 'finished_error',
      status: plan.status,
      statusCodeInfo: plan.statusCodeInfo,
      fullRefresh: plan.fullRefresh,
      refreshed: plan.refreshed,
      total: plan.total,
      record: recordOf(run, list, notesOf(plan)),
    },
    drafts: plan.drafts,
    fullRefreshWanted: plan.fullRefreshWanted,
    keep: answer.keep,
    consentExpiresAt: answer.consentExpiresAt,
    failure: null,
    write: (tx, timestamps) => writePlan(tx, owner, refresh.id, plan, rowIds, timestamps),
  });
}

export async function commitFailure(services: RefreshServices, run: Run, failure: Omit<Failure, 'kind'>): Promise<void> {
  const { item } = run;
  const { status, info } = failure;
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
    fullRefreshWanted: item.fullRefreshWanted,
    failure,
    write: null,
  });
}

function recordOf({ calls, refresh }: Run, list: RefreshRecord['list'], accounts: readonly AccountNote[]): string {
  return JSON.stringify({ calls, attended: isAttended(refresh), list, accounts } satisfies RefreshRecord);
}

function notesOf(plan: Plan): AccountNote[] {
  return plan.accounts.map(({ note }) => note);
}

type Comparisons = {
  rows: Awaited<ReturnType<typeof rowsToCompare>>;
  since: Map<number, CalendarDate | null>;
  settled: Map<number, Settled>;
};

/** Reads the stored rows that the answer can be about, but for accounts whose answer is the same as one that found nothing. */
async function compare({ storage }: RefreshServices, run: Run, answer: Answered, { matched }: AccountOutcome): Promise<Comparisons> {
  const since = new Map<number, CalendarDate | null>();
  const settled = new Map<number, Settled>();
  const accounts = new Map(run.accounts.map((account) => [account.id, account]));
  const answers = new Map<ObservedAccount, FetchedAccount['answer']>(answer.accounts.map((fetched) => [fetched.account, fetched.answer]));
  for (const { stored, observed } of matched) {
    const fetched = answers.get(observed)!;
    if (fetched.kind !== 'fetched') continue;
    const from = compareSince(run, fetched);
    since.set(stored.id, from);
    const account = accounts.get(stored.id)!;
    const again = settledBefore({ account, batches: fetched.batches, since: from, now: run.now });
    if (again) settled.set(account.id, again);
  }
  const read = [...since].filter(([id]) => !settled.has(id)).map(([id, from]) => ({ id, since: from }));
  return { rows: await rowsToCompare(storage, read, run.now - TOMBSTONES_MS), since, settled };
}

/** From the earliest date that the answer speaks of, with a margin for rows that moved; null for all rows. */
function compareSince(run: Run, { batches }: Extract<FetchedAccount['answer'], { kind: 'fetched' }>): CalendarDate | null {
  if (run.refresh.phase === 'full' || run.connector?.bank.input === 'files') return null;
  let earliest = isoDate(run.now);
  for (const { coverage, observations } of batches) {
    for (const { from } of coverage.windows) if (from < earliest) earliest = from;
    for (const row of observations) {
      const date = row.bookingDate ?? row.transactionDate ?? row.valueDate;
      if (date && date < earliest) earliest = date;
    }
  }
  return isoDate(Date.parse(earliest) - WINDOW_MARGIN_MS);
}

/** Takes the transaction back: another worker has the refresh, or it was erased with its item. */
class FencedOff extends Error {}

/** The transaction of every ending: the record, the item, and `item.refreshed` as its last event. */
async function finish(services: RefreshServices, run: Run, ending: Ending): Promise<void> {
  const { refresh, item, connector, pacing } = run;
  const { drafts } = ending;
  const realNow = services.clock.now();
  // Banks take their time: events and rows carry the moment of the commit, so that who asks for changes since then misses none.
  const now = realNow + run.clockOffsetMs;
  const finished: FinishedRefresh = { ...ending.finished, traceparent: run.traceparent, finishedAt: now };
  const succeeded = finished.state === 'finished';
  const followed = succeeded && refresh.phase === 'recent' && !finished.fullRefresh;
  const consentExpiresAt = succeeded && ending.consentExpiresAt !== undefined ? ending.consentExpiresAt : item.consentExpiresAt;
  const paced = await pacing.end(
    {
      status: finished.status as StatusCode,
      failedWhole: ending.failure !== null,
      connectedOnce: succeeded || item.connectedOnce,
      retryAfterMs: ending.failure?.retryAfterMs ?? null,
      consentExpiresAt,
    },
    () => fingerprintOf(services, item),
    services.outcomes,
    now,
  );
  const connectorState =
    ending.keep === undefined
      ? item.connectorState
      : await services.vault.seal(services.storage, item.dataKeyId, statePlace(item), JSON.stringify(ending.keep));

  const work = async (tx: Writer): Promise<void> => {
    // Sent together: whatever comes of the first, a fence takes both back.
    const [stands, timestamps] = await Promise.all([
      finishRefresh(tx, refresh, finished),
      takeTimestamps(tx, item.userUuid, now, drafts.length),
    ]);
    if (!stands) throw new FencedOff();
    const origin = { applicationId: item.applicationId, refreshId: refresh.id, committedAt: realNow, traceparent: run.traceparent };
    const written = [
      ending.write?.(tx, timestamps),
      updateRefreshedItem(tx, {
        id: item.id,
        status: finished.status,
        statusCodeInfo: finished.statusCodeInfo,
        succeeded,
        historyComplete: item.historyComplete || finished.fullRefresh,
        fullRefreshWanted: ending.fullRefreshWanted,
        connectorState,
        dueAt: paced.dueAt,
        schedule: paced.schedule,
        consentExpiresAt,
        refreshedAt: now,
        forgetCredentials: connector?.bank.input === 'files' ? item.credentials : null,
        countsAsRefresh: !completesConnection(refresh),
        accountsUpdatedAt: ending.write ? timestamps.at(-1)! : null,
      }),
    ];
    if (paced.circuit !== null) written.push(pacing.writeCircuit(tx, paced.circuit, now));
    if (followed) {
      await Promise.all(written);
      await requestRefresh(tx, { item, cause: 'completion', phase: 'full', startedAt: now + 1, runAt: realNow + FULL_HISTORY_DELAY_MS });
    }
    await Promise.all([
      ...written,
      appendEvents(
        tx,
        origin,
        drafts.map((draft, index) => ({ draft, timestamp: timestamps[index]! })),
      ),
    ]);
  };

  let committed = true;
  try {
    await services.storage.transaction(work);
  } catch (error) {
    if (!(error instanceof FencedOff)) throw error;
    committed = false;
  }
  const durationMs = performance.now() - run.startedAt;
  if (committed) {
    services.onEvents();
    const { status } = finished;
    const named = { refreshId: refresh.id, itemId: item.id, bankId: item.bankId, cause: refresh.cause, status };
    services.onRefreshed?.({ ...named, traceparent: run.traceparent, endedAt: services.clock.now(), durationMs });
  }
  if (committed && paced.circuit !== null) services.log.warn({ bank: item.bankId, circuit: paced.circuit }, 'bank circuit');
  services.log.info(
    {
      refresh: refresh.id,
      item: item.id,
      bank: item.bankId,
      cause: refresh.cause,
      phase: refresh.phase,
      status: finished.status,
      info: finished.statusCodeInfo,
      events: drafts.length,
      full_refresh: finished.fullRefresh,
      fenced_off: !committed,
      took_ms: Math.round(durationMs),
    },
    'refresh',
  );
}
