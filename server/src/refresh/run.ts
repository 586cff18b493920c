/** One run of one refresh, from its claim to its commit. Everything that it writes is fenced by the epoch of the claim. */
import { accountsOfItem } from '../accounts/accounts.ts';
import type { Clock } from '../base/clock.ts';
import { DAY_MS, isoDate } from '../base/clock.ts';
import type { Connector, Credentials, Json, ObservedAccount, StatusCode } from '../connectors/connector.ts';
import type { EventDraft } from '../events/catalogue.ts';
import { appendEvents, takeTimestamps } from '../events/log.ts';
import { findItemWithClock, type Item, updateRefreshedItem } from '../items/items.ts';
import {
  type FinishedRefresh,
  finishRefresh,
  isClaimed,
  type Refresh,
  requestRefresh,
  showChallenge,
  showProgress,
} from '../items/refreshes.ts';
import type { Counters } from '../storage/counters.ts';
import type { Storage, Writer } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';
import { rowsToCompare } from '../transactions/transactions.ts';
import type { Vault } from '../vault/vault.ts';
import { askBank, type BankAnswer } from './bank.ts';
import { identifyAccounts, nextDueInMs, planRefresh, refreshesUnattended } from './plan.ts';
import { writePlan } from './write.ts';

export type RefreshServices = {
  storage: Storage;
  vault: Vault;
  counters: Counters;
  clock: Clock;
  log: Log;
  /** Null where the bank is no longer known. */
  connector: (bankId: number) => Connector | null;
  /** Called after a commit that made events. */
  onEvents: () => void;
};

/** The full history follows the first data after this pause, so that the user's pages have what they wait for first. */
const FULL_HISTORY_DELAY_MS = 2_000;
/** Rows dated before the window may still be the ones that moved into it. */
const WINDOW_MARGIN_MS = 30 * DAY_MS;
/** Deleted rows that may come back. */
const TOMBSTONES_MS = 90 * DAY_MS;
/** Progress is for people: written at most this often, so that a fast bank costs nothing. */
const PROGRESS_EVERY_MS = 300;

/** `now` is the application's clock when the run began; commits read it again. */
type Run = { refresh: Refresh; item: Item; connector: Connector; now: number; clockOffsetMs: number; startedAt: number };

/** Throws only what no rule foresees, while the claim stands: the refresh then runs again. */
export async function runRefresh(services: RefreshServices, refresh: Refresh, signal: AbortSignal): Promise<void> {
  try {
    await runClaimed(services, refresh, signal);
  } catch (error) {
    // An item that is erased takes its keys and rows from under its run: what then fails concerns nobody.
    if (await isClaimed(services.storage, refresh)) throw error;
    services.log.info({ refresh: refresh.id, item: refresh.itemId, fenced_off: true }, 'refresh');
  }
}

async function runClaimed(services: RefreshServices, refresh: Refresh, signal: AbortSignal): Promise<void> {
  const { storage, clock } = services;
  const found = await findItemWithClock(storage, refresh.itemId);
  if (!found) return;
  const { item } = found;
  const { clockOffsetMs } = found;
  const now = clock.now() + clockOffsetMs;
  const connector = services.connector(item.bankId);
  const startedAt = performance.now();
  if (!connector) return finishFailed(services, { refresh, item, connector: null, now, clockOffsetMs, startedAt }, 1005, null);
  const run: Run = { refresh, item, connector, now, clockOffsetMs, startedAt };
  if (challengeExpired(refresh, clock.now())) return finishFailed(services, run, 1010, 'OTP_REQUIRED');

  const credentials = await openCredentials(services, item, connector);
  if (!credentials) return finishFailed(services, run, 1010, 'OTP_REQUIRED');
  const stored = await accountsOfItem(storage, item.id);
  const answer = await askBank({
    connector,
    authentication: {
      itemId: item.id,
      credentials,
      attended: isAttended(refresh),
      answer: await openAnswer(services, refresh, item),
      refreshIndex: completesConnection(refresh) ? Math.max(0, item.refreshCount - 1) : item.refreshCount,
      connectedAt: item.createdAt,
      now,
      challengedAt: refresh.challengedAt,
      kept: await openState(services, item),
    },
    phase: refresh.phase,
    from: (account) =>
      windowStart(
        refresh,
        stored.find(({ identity }) => identity !== null && identity === account.identity),
        now,
      ),
    onProgress: progressWriter(services, refresh),
    onCrash: (error) => services.log.error({ refresh: refresh.id, item: item.id, bank: item.bankId, error }, 'connector crashed'),
    signal,
  });

  switch (answer.kind) {
    case 'challenge':
      return isAttended(refresh) ? wait(services, run, answer) : finishFailed(services, run, 1010, 'OTP_REQUIRED');
    case 'failed':
      return finishFailed(services, run, answer.status, answer.info);
    case 'answered':
      return commit(services, run, answer, stored);
    default:
      answer satisfies never;
  }
}

/** The second half of a first connection: the full history, after the first data. */
function completesConnection(refresh: Refresh): boolean {
  return refresh.cause === 'completion';
}

function isAttended(refresh: Refresh): boolean {
  return refresh.cause === 'connect';
}

function challengeExpired(refresh: Refresh, now: number): boolean {
  return refresh.answer === null && refresh.challengeExpiresAt !== null && refresh.challengeExpiresAt <= now;
}

async function openCredentials(services: RefreshServices, item: Item, connector: Connector): Promise<Credentials | null> {
  if (item.credentials === null) return connector.bank.input === 'files' ? {} : null;
  const place = { table: 'items', column: 'credentials', id: item.id };
  return JSON.parse(await services.vault.open(services.storage, item.dataKeyId, place, item.credentials)) as Credentials;
}

const statePlace = (item: Pick<Item, 'id'>) => ({ table: 'items', column: 'connector_state', id: item.id });

/** What the connector asked to keep at the last successful refresh; null before the first. */
export async function openState(services: Pick<RefreshServices, 'storage' | 'vault'>, item: Item): Promise<Json> {
  if (item.connectorState === null) return null;
  return JSON.parse(await services.vault.open(services.storage, item.dataKeyId, statePlace(item), item.connectorState)) as Json;
}

async function openAnswer(services: RefreshServices, refresh: Refresh, item: Item): Promise<{ state: Json; code: string | null } | null> {
  if (refresh.challengeState === null) return null;
  const open = (column: string, sealed: string) =>
    services.vault.open(services.storage, item.dataKeyId, { table: 'refreshes', column, id: refresh.id }, sealed);
  const state = JSON.parse(await open('challenge_state', refresh.challengeState)) as Json;
  return { state, code: refresh.answer === null ? null : await open('answer', refresh.answer) };
}

function windowStart(refresh: Refresh, account: { nextWindowFrom: string | null } | undefined, now: number): string | null {
  if (refresh.phase === 'recent') return isoDate(now - 30 * DAY_MS);
  return account?.nextWindowFrom ?? null;
}

function progressWriter(services: RefreshServices, refresh: Refresh): (refreshed: number, total: number | null) => Promise<void> {
  let writtenAt = performance.now();
  return async (refreshed, total) => {
    const watched = refresh.cause === 'connect' || refresh.cause === 'api';
    if (!watched || performance.now() - writtenAt < PROGRESS_EVERY_MS) return;
    writtenAt = performance.now();
    await services.storage.transaction((tx) => showProgress(tx, refresh, { state: 'retrieving_data', refreshed, total }));
  };
}

async function wait(services: RefreshServices, run: Run, answer: Extract<BankAnswer, { kind: 'challenge' }>): Promise<void> {
  const { refresh, item } = run;
  const { challenge } = answer;
  const now = services.clock.now();
  const goesOn = refresh.challengeExpiresAt !== null && answer.wrongAnswer !== true;
  const expiresAt = goesOn ? refresh.challengeExpiresAt! : now + challenge.lifetimeMs;
  const sealed = await services.vault.seal(
    services.storage,
    item.dataKeyId,
    { table: 'refreshes', column: 'challenge_state', id: refresh.id },
    JSON.stringify(answer.state),
  );
  const pollMs = challenge.type === 'APP_TO_APP' ? challenge.pollMs : null;
  await services.storage.transaction((tx) =>
    showChallenge(tx, refresh, {
      challenge: {
        type: challenge.type,
        label: challenge.label,
        description: challenge.description,
        isNumeric: challenge.type === 'SMS' && challenge.isNumeric,
        pollMs,
        wrongAnswer: answer.wrongAnswer === true,
      },
      state: sealed,
      challengedAt: refresh.challengedAt ?? run.now,
      expiresAt,
      runAt: pollMs === null ? expiresAt : Math.min(now + pollMs, expiresAt),
    }),
  );
}

/** The transaction of every ending: the record, the item, and `item.refreshed` as its last event. False where the run was fenced off. */
async function finish(
  services: RefreshServices,
  run: Omit<Run, 'connector'> & { connector: Connector | null },
  ending: { finished: FinishedRefresh; drafts: readonly EventDraft[]; fullRefreshWanted: boolean; keep?: Json | undefined },
  write: (tx: Writer, timestamps: readonly number[]) => Promise<void>,
): Promise<void> {
  const { refresh, item, connector } = run;
  const { finished, drafts } = ending;
  const realNow = services.clock.now();
  // Banks take their time: events and rows carry the moment of the commit, so that who asks for changes since then misses none.
  const now = realNow + run.clockOffsetMs;
  const succeeded = finished.state === 'finished';
  const followed = succeeded && refresh.phase === 'recent' && !finished.fullRefresh;
  const unattended = (connector?.bank.unattended ?? false) && refreshesUnattended(finished.status) && (succeeded || item.connectedOnce);
  const connectorState =
    ending.keep === undefined
      ? item.connectorState
      : await services.vault.seal(services.storage, item.dataKeyId, statePlace(item), JSON.stringify(ending.keep));
  const committed = await services.storage.transaction(async (tx) => {
    if (!(await finishRefresh(tx, refresh, finished))) return false;
    const timestamps = await takeTimestamps(tx, item.userUuid, now, drafts.length);
    await write(tx, timestamps);
    await updateRefreshedItem(tx, {
      id: item.id,
      status: finished.status,
      statusCodeInfo: finished.statusCodeInfo,
      succeeded,
      historyComplete: item.historyComplete || finished.fullRefresh,
      fullRefreshWanted: ending.fullRefreshWanted,
      connectorState,
      dueAt: unattended ? realNow + nextDueInMs(item.id) : null,
      refreshedAt: now,
      forgetCredentials: connector?.bank.input === 'files' ? item.credentials : null,
      countsAsRefresh: !completesConnection(refresh),
    });
    if (followed)
      await requestRefresh(tx, { item, cause: 'completion', phase: 'full', startedAt: now + 1, runAt: realNow + FULL_HISTORY_DELAY_MS });
    await appendEvents(
      tx,
      { applicationId: item.applicationId, refreshId: refresh.id, committedAt: realNow },
      drafts.map((draft, index) => ({ draft, timestamp: timestamps[index]! })),
    );
    return true;
  });
  if (committed) services.onEvents();
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
      took_ms: Math.round(performance.now() - run.startedAt),
    },
    'refresh',
  );
}

async function finishFailed(
  services: RefreshServices,
  run: Omit<Run, 'connector'> & { connector: Connector | null },
  status: StatusCode,
  info: string | null,
): Promise<void> {
  const { item } = run;
  const finished: FinishedRefresh = {
    state: status === 402 ? 'invalid_creds' : 'finished_error',
    status,
    statusCodeInfo: info,
    fullRefresh: false,
    refreshed: null,
    total: null,
    record: '{}',
    finishedAt: run.now,
  };
  const draft: EventDraft = {
    type: 'item.refreshed',
    itemId: item.id,
    userUuid: item.userUuid,
    fullRefresh: false,
    statusCode: status,
    statusCodeInfo: info,
  };
  await finish(services, run, { finished, drafts: [draft], fullRefreshWanted: item.fullRefreshWanted }, async () => {});
}

async function commit(
  services: RefreshServices,
  run: Run,
  answer: Extract<BankAnswer, { kind: 'answered' }>,
  stored: Awaited<ReturnType<typeof accountsOfItem>>,
): Promise<void> {
  const { item, now, refresh } = run;
  const decisions = identifyAccounts(stored, answer, now);
  const compared = decisions.matched.map(({ stored: { id }, observed }) => ({ id, since: compareSince(run, answer, observed) }));
  const rows = await rowsToCompare(services.storage, compared, now - TOMBSTONES_MS);
  const accountIds = await services.counters.reserve('accounts', decisions.created.length);
  const plan = planRefresh({ item, answer, stored, rows, phase: refresh.phase, now }, decisions, accountIds);
  const born = plan.accounts.reduce((count, { rows: { created } }) => count + created.length, 0);
  const rowIds = await services.counters.reserve('transactions', born);
  await finish(
    services,
    run,
    {
      finished: {
        state: plan.status === 0 || plan.status === 1009 ? 'finished' : 'finished_error',
        status: plan.status,
        statusCodeInfo: plan.statusCodeInfo,
        fullRefresh: plan.fullRefresh,
        refreshed: plan.refreshed,
        total: plan.total,
        record: JSON.stringify({ phase: refresh.phase, accounts: plan.accounts.map(({ note }) => note) }),
        finishedAt: now,
      },
      drafts: plan.drafts,
      fullRefreshWanted: plan.fullRefreshWanted,
      keep: answer.keep,
    },
    (tx, timestamps) => writePlan(tx, item, plan, rowIds, timestamps),
  );
}

/** Stored rows that the answer can be about: from the earliest date it speaks of, with a margin for rows that moved. */
function compareSince(run: Run, answer: Extract<BankAnswer, { kind: 'answered' }>, observed: ObservedAccount): string | null {
  if (run.refresh.phase === 'full' || run.connector.bank.input === 'files') return null;
  const fetched = answer.accounts.find(({ account }) => account === observed)?.answer;
  if (fetched?.kind !== 'fetched') return null;
  let earliest = isoDate(run.now);
  for (const { coverage, observations } of fetched.batches) {
    for (const { from } of coverage.windows) if (from < earliest) earliest = from;
    for (const row of observations) {
      const date = row.bookingDate ?? row.transactionDate ?? row.valueDate;
      if (date && date < earliest) earliest = date;
    }
  }
  return isoDate(Date.parse(earliest) - WINDOW_MARGIN_MS);
}
