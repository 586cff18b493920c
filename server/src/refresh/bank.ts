/** The conversation with a bank: one refresh's worth of calls, each with its time limit, brought to one answer. Writes nothing. */
import { MINUTE_MS, SECOND_MS } from '../base/clock.ts';
import type {
  Authentication,
  AuthenticationRequest,
  Batch,
  CalendarDate,
  Connector,
  Failure,
  Json,
  ObservedAccount,
} from '../connectors/connector.ts';
import {
  checkAccounts,
  checkAuthentication,
  checkBatches,
  checkFailure,
  withOwnBalances,
  withoutRepetitions,
  withStorableNames,
  withStorableTexts,
} from './believable.ts';
import type { SparedFor } from './schedule/decide.ts';

/** A bank that has not answered by then is down for this refresh (status 1003), and is asked again at the next. */
const AUTHENTICATE_LIMIT_MS = 30 * SECOND_MS;
const LIST_ACCOUNTS_LIMIT_MS = 30 * SECOND_MS;
const FETCH_ACCOUNT_LIMIT_MS = 2 * MINUTE_MS;
/** All calls of a refresh together: less than its claim is good for, so that no second run asks the bank beside this one. */
export const CONVERSATION_LIMIT_MS = 8 * MINUTE_MS;
/** More accounts than any user has: a bank that answers more is not believed. */
const ACCOUNTS_MAX = 500;

export const CRASHED: Failure = { kind: 'failed', status: 1003, info: 'CNT_CRASH' };

export type FetchedAccount = {
  account: ObservedAccount;
  asked: { phase: 'recent' | 'full' | 'incremental'; from: CalendarDate | null };
  answer: { kind: 'fetched'; batches: readonly Batch[] } | { kind: 'spared'; because: SparedFor } | Failure;
};
/** What a login that succeeded brought: it stands, whatever fails after it. */
export type LoginOutcome = { keep?: Json | undefined; consentExpiresAt?: number | null | undefined };
export type BankAnswer =
  | Extract<Authentication, { kind: 'challenge' }>
  | (Failure & LoginOutcome)
  | {
      kind: 'answered';
      keep: Json | undefined;
      consentExpiresAt?: number | null | undefined;
      listComplete: boolean;
      accounts: readonly FetchedAccount[];
    };

export type Conversation = {
  connector: Connector;
  authentication: AuthenticationRequest;
  phase: 'recent' | 'full' | 'incremental';
  /** Where the fetch of an account begins; null for its whole history. */
  from: (account: ObservedAccount) => CalendarDate | null;
  /** Called after the login, and after each account; ends the conversation where it throws. */
  onProgress: (refreshed: number, total: number | null) => Promise<void>;
  onCrash: (error: unknown) => void;
  /** Called before each call to the bank. */
  onCall: () => void;
  /** What a quota counts: called before the bank is asked to let somebody in, and before it is asked for an account. */
  onLogin: () => void;
  onFetch: (account: ObservedAccount) => void;
  /** Called when the bank has let somebody in. */
  onLoggedIn: (outcome: LoginOutcome) => void;
  /** Why an account is left as it was; null where it is asked for. */
  sparedFor: (account: ObservedAccount) => SparedFor | null;
  signal: AbortSignal;
};

export async function askBank(conversation: Conversation): Promise<BankAnswer> {
  const { connector, authentication } = conversation;
  const { itemId, now } = authentication;
  const ask = callsWithin(conversation);

  conversation.onLogin();
  const login = await ask(AUTHENTICATE_LIMIT_MS, async (limit) => {
    const answered = await connector.authenticate(authentication, limit);
    checkAuthentication(answered);
    return answered;
  });
  if (login.kind !== 'authenticated') return login;
  const { session, keep, consentExpiresAt } = login;
  conversation.onLoggedIn({ keep, consentExpiresAt });
  await conversation.onProgress(0, null);

  const list = await ask(LIST_ACCOUNTS_LIMIT_MS, async (limit) => {
    const answered = await connector.listAccounts({ itemId, session, now }, limit);
    if (answered.kind === 'failed') checkFailure(answered);
    else checkAccounts(answered);
    return answered;
  });
  if (list.kind === 'failed') return { ...list, keep, consentExpiresAt };
  // A list that broke off before its first account lists nothing; files that were read before do have none.
  const brokeOff = !list.complete && list.accounts.length === 0 && connector.bank.input !== 'files';
  if (brokeOff || list.accounts.length > ACCOUNTS_MAX) return { ...CRASHED, keep, consentExpiresAt };
  const accounts = withoutRepetitions(withStorableNames(list.accounts));
  await conversation.onProgress(0, accounts.length);

  const fetched: FetchedAccount[] = [];
  for (const account of accounts) {
    const from = conversation.phase === 'full' ? null : conversation.from(account);
    const phase = conversation.phase === 'incremental' && from === null ? 'full' : conversation.phase;
    const because = conversation.sparedFor(account);
    if (because !== null) {
      fetched.push({ account, asked: { phase, from }, answer: { kind: 'spared', because } });
      continue;
    }
    conversation.onFetch(account);
    const answer = await ask(FETCH_ACCOUNT_LIMIT_MS, async (limit): Promise<FetchedAccount['answer']> => {
      const answered = await connector.fetchAccount({ itemId, session, account, phase, from, now }, limit);
      if (answered.kind === 'failed') {
        checkFailure(answered);
        return answered;
      }
      checkBatches(answered.batches, account.currency);
      return { kind: 'fetched', batches: withOwnBalances(withStorableTexts(answered.batches)) };
    });
    if (answer.kind === 'failed' && endsRefresh(answer)) return { ...answer, keep, consentExpiresAt };
    fetched.push({ account, asked: { phase, from }, answer });
    await conversation.onProgress(fetched.length, accounts.length);
  }
  return { kind: 'answered', keep, consentExpiresAt, listComplete: list.complete, accounts: fetched };
}

/** A login that fails at an account fails as a whole; a fault of one account stays with it. */
function endsRefresh(failure: Failure): boolean {
  return failure.status === 402 || failure.status === 429 || failure.status === 1010;
}

type Ask = <T>(limitMs: number, call: (signal: AbortSignal) => Promise<T>) => Promise<T | Failure>;

/**
 * A connector that throws, or does not answer in time, has crashed: that is a status, not an exception. One timer and one
 * controller for each call: signals of `AbortSignal.any` and `AbortSignal.timeout` took a fifth of a refresh without changes.
 */
function callsWithin({ signal, onCrash, onCall }: Conversation): Ask {
  const endsAt = performance.now() + CONVERSATION_LIMIT_MS;
  return async (limitMs, call) => {
    signal.throwIfAborted();
    const limit = new AbortController();
    let end: (reason: unknown) => void = () => {};
    const ended = new Promise<never>((_, reject) => {
      end = (reason) => {
        limit.abort(reason);
        reject(reason);
      };
    });
    const late = () => end(new DOMException('the bank did not answer in time', 'TimeoutError'));
    const timer = setTimeout(late, Math.max(0, Math.min(limitMs, endsAt - performance.now())));
    timer.unref();
    const stop = () => end(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    try {
      onCall();
      return await Promise.race([call(limit.signal), ended]);
    } catch (error) {
      signal.throwIfAborted();
      onCrash(error);
      return CRASHED;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  };
}
