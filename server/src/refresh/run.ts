/** One run of one refresh, from its claim to its commit. Everything that it writes is fenced by the epoch of the claim. */
import type { AccountRecord } from '../accounts/accounts.ts';
import { DAY_MS, isoDate } from '../base/clock.ts';
import { randomHex } from '../base/random.ts';
import type { Failure, ObservedAccount, StatusCode } from '../connectors/connector.ts';
import { defaultInfo } from '../connectors/statuses.ts';
import { type Item, rememberSchedule } from '../items/items.ts';
import { isWatched, type Refresh, type RefreshPhase, showChallenge, showProgress } from '../items/refreshes.ts';
import { askBank, type BankAnswer, CRASHED } from './bank.ts';
import type { Beginning } from './beginning.ts';
import { commitAnswer, commitFailure } from './commit.ts';
import { completesConnection, isAttended, type Run, type RunTogether } from './context.ts';
import { isGivenUp, runAgain } from './failed-run.ts';
import { insist } from './insist.ts';
import { circuitDomain } from './schedule/circuits.ts';
import { accountKey } from './schedule/ledger.ts';
import { pace } from './schedule/pacing.ts';
import { readBands } from './schedule/rules.ts';
import { fingerprintOf, openAnswer, openCredentials, openState } from './sealed.ts';
import type { RefreshServices } from './services.ts';

const SCA_MISSING: Failure = { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' };
/** Progress is for people: written at most this often, so that a fast bank costs nothing. */
const PROGRESS_EVERY_MS = 300;

/** Throws only where not even the failure of a run could be written down, while the claim stands. */
export async function runRefresh(services: RefreshServices, refresh: Refresh, together: RunTogether): Promise<void> {
  const { signal } = together;
  let run: Run | null = null;
  try {
    const begun = await together.beginning();
    if (!begun) return;
    run = begin(services, refresh, begun, together);
    const brought = await ask(services, run, signal);
    await end(services, run, brought, signal);
  } catch (error) {
    const { id, itemId } = refresh;
    // Unless we hear otherwise.
    let stands = true;
    try {
      const abandoned = signal.aborted;
      stands = (await insist(services, refresh, signal, () => runAgain(services, refresh, { run, abandoned }))) ?? false;
    } finally {
      // An item that is erased takes its keys and rows from under its run: what then fails concerns nobody.
      if (stands)
        services.log.error({ refresh: id, item: itemId, failed_before: refresh.failedRuns, error }, 'refresh run failed; it runs again');
      else services.log.info({ refresh: id, item: itemId, fenced_off: true }, 'refresh');
    }
  }
}

function begin(
  services: RefreshServices,
  refresh: Refresh,
  beginning: Beginning,
  { endings, rowsToCompare }: Pick<RunTogether, 'endings' | 'rowsToCompare'>,
): Run {
  const { item } = beginning;
  const now = services.clock.now() + beginning.clockOffsetMs;
  const connector = services.connector(item.bankId);
  const pacing = pace({
    item,
    refresh,
    givenUp: isGivenUp(refresh),
    bank: connector?.bank ?? null,
    domain: circuitDomain(beginning.environment, item.applicationId),
    applicationBands: readBands(beginning.refreshBands),
    circuit: beginning.circuit,
    now,
  });
  const startedAt = performance.now();
  return {
    ...beginning,
    refresh,
    endings,
    rowsToCompare,
    connector,
    pacing,
    now,
    startedAt,
    traceparent: newTraceparent(),
    calls: 0,
    heard: null,
    login: null,
  };
}

/** Asks the bank, or says why it is not asked. Nothing of what it brings is written yet. */
async function ask(services: RefreshServices, run: Run, signal: AbortSignal): Promise<BankAnswer> {
  const { refresh, item, connector, pacing, now } = run;
  const { clock } = services;
  if (isGivenUp(refresh)) return CRASHED;
  if (refresh.heard !== null) {
    pacing.onHeard();
    run.heard = JSON.parse(refresh.heard) as Failure;
    return pacing.shown(run.heard);
  }
  if (!connector) return { kind: 'failed', status: 1005, info: null };
  if (challengeExpired(refresh, clock.now())) return SCA_MISSING;

  const credentials = await openCredentials(services, item, connector);
  if (!credentials) return SCA_MISSING;
  const asking = await pacing.decide(run.accounts, () => fingerprintOf(services, item));
  if (asking.kind === 'spare') {
    const { status } = asking;
    return { kind: 'failed', status, info: asking.info ?? infoBefore(item, status) };
  }
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
    from: fetchFrom(refresh.phase, run.accounts, now),
    onProgress: progressWriter(services, refresh),
    onCrash: (error) => services.log.error({ refresh: refresh.id, item: item.id, bank: item.bankId, error }, 'connector crashed'),
    onCall: () => {
      run.calls += 1;
    },
    onLogin: pacing.onLogin,
    onLoggedIn: (outcome) => {
      run.login = outcome;
    },
    onFetch: pacing.onFetch,
    sparedFor: (account) => asking.sparedFor(accountKey(account)),
    signal,
  });

  const failure = answer.kind === 'challenge' && !isAttended(refresh) ? SCA_MISSING : answer;
  if (failure.kind !== 'failed') return failure;
  // What its login brought is kept where that is kept sealed.
  const { kind, status, info, retryAfterMs } = failure;
  run.heard = { kind, status, info, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  return pacing.shown(failure);
}

/** Writes what the bank, or its absence, has brought: all of it or nothing. */
async function end(services: RefreshServices, run: Run, brought: BankAnswer, signal: AbortSignal): Promise<void> {
  const ended = await insist(services, run.refresh, signal, async () => {
    await write(services, run, brought);
    return true;
  });
  // It may have been written by a commit that we did not hear of.
  if (ended === null) services.onEvents();
}

function write(services: RefreshServices, run: Run, brought: BankAnswer): Promise<void> {
  switch (brought.kind) {
    case 'challenge':
      return wait(services, run, brought);
    case 'failed':
      return commitFailure(services, run, brought);
    case 'answered':
      return commitAnswer(services, run, brought);
    default:
      return brought satisfies never;
  }
}

/** W3C trace context: one trace for each run, so that what it caused can be found from its record, and the other way round. */
function newTraceparent(): string {
  return `00-${randomHex(16)}-${randomHex(8)}-01`;
}

function challengeExpired(refresh: Refresh, now: number): boolean {
  return refresh.answer === null && refresh.challengeExpiresAt !== null && refresh.challengeExpiresAt <= now;
}

/** Credentials that were refused are still refused for the same reason. */
function infoBefore(item: Item, status: StatusCode): string | null {
  return item.status === status ? item.statusCodeInfo : defaultInfo(status);
}

/** Where a refresh of this phase begins to ask for an account; null for everything. */
export function fetchFrom(
  phase: RefreshPhase,
  accounts: readonly AccountRecord[],
  now: number,
): (observed: ObservedAccount) => string | null {
  if (phase === 'recent') return () => isoDate(now - 30 * DAY_MS);
  const storedByKey = Map.groupBy(
    accounts.filter(({ deletedAt }) => deletedAt === null),
    accountKey,
  );
  return (observed) => storedAs(storedByKey, observed)?.nextWindowFrom ?? null;
}

/**
 * Before the whole list is compared. Wallets of several currencies may share an identity, and an account that changed its
 * currency is still itself; one without an identity is known by what the ledger knows it by, if no other is like it.
 */
function storedAs(storedByKey: ReadonlyMap<string, readonly AccountRecord[]>, observed: ObservedAccount): AccountRecord | undefined {
  const alike = storedByKey.get(accountKey(observed)) ?? [];
  if (observed.identity === null) return alike.length === 1 ? alike[0] : undefined;
  return alike.find(({ currency }) => currency === observed.currency) ?? alike[0];
}

/** Throws where the run was fenced off: whatever it asked for now would be for nobody. A line that cannot be written is only not shown. */
function progressWriter({ storage, log }: RefreshServices, refresh: Refresh): (refreshed: number, total: number | null) => Promise<void> {
  let writtenAt = performance.now();
  return async (refreshed, total) => {
    if (!isWatched(refresh) || performance.now() - writtenAt < PROGRESS_EVERY_MS) return;
    writtenAt = performance.now();
    let stands = true;
    try {
      stands = await storage.transaction((tx) => showProgress(tx, refresh, { state: 'retrieving_data', refreshed, total }));
    } catch (error) {
      log.warn({ refresh: refresh.id, item: refresh.itemId, error }, 'the progress of a refresh could not be shown');
    }
    if (!stands) throw new FencedOff();
  };
}

/** Another worker has the refresh, or it was erased with its item. */
class FencedOff extends Error {}

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
  // Counted now: whether anybody answers is not ours to say.
  const schedule = run.pacing.spentBy(now + run.clockOffsetMs);
  await services.storage.transaction(async (tx) => {
    const stands = await showChallenge(tx, refresh, {
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
    });
    if (stands && schedule !== null) await rememberSchedule(tx, item.id, schedule);
  });
}
