/** Logins of the form `scenario:<name>`, and the session in which their bank is asked. */
import { setTimeout as wait } from 'node:timers/promises';
import type { AccountList, Authentication, AuthenticationRequest, Failure, Fetched, FetchRequest, Json } from '../../connector.ts';
import { accountsAt, batchAt, type Connection, refusalAt, stateOf } from './answer.ts';
import type { Scenarios } from './library.ts';

const LOGIN = /^scenario:(.+)$/i;
const UNKNOWN: Failure = { kind: 'failed', status: 402, info: 'WRONG_ID' };
const CRASHED: Failure = { kind: 'failed', status: 1003, info: 'CNT_CRASH' };

export type ScenarioBank = {
  /** Null where the login is none of ours. */
  authenticate(request: AuthenticationRequest, seed: string, signal: AbortSignal): Promise<Authentication | null>;
  /** Null where the session is none of ours. */
  listAccounts(request: { session: Json; now: number }, signal: AbortSignal): Promise<AccountList | Failure | null>;
  fetchAccount(request: FetchRequest, signal: AbortSignal): Promise<Fetched | Failure | null>;
};

export function scenarioBank(scenarios: Scenarios): ScenarioBank {
  const connectionOf = async (session: Json): Promise<Connection | 'gone' | null> => {
    if (session === null || typeof session !== 'object' || Array.isArray(session)) return null;
    const { scenario: name, seed, connectedAt } = session;
    if (typeof name !== 'string' || typeof seed !== 'string' || typeof connectedAt !== 'number') return null;
    const scenario = await scenarios.find(name);
    return scenario ? { scenario, seed, connectedAt } : 'gone';
  };
  const answer = async (connection: Connection, now: number, signal: AbortSignal) => {
    const { slowSeconds } = stateOf(connection, now);
    if (slowSeconds > 0) await wait(slowSeconds * 1_000, undefined, { signal });
  };
  return {
    async authenticate(request, seed, signal) {
      const name = LOGIN.exec((request.credentials.USER ?? '').trim())?.[1]
        ?.trim()
        .toLowerCase();
      if (name === undefined) return null;
      const scenario = await scenarios.find(name);
      if (!scenario) return UNKNOWN;
      const connection: Connection = { scenario, seed, connectedAt: request.connectedAt };
      await answer(connection, request.now, signal);
      // Whoever comes through Connect gives their consent anew.
      const renewedAt = request.attended ? request.now : renewedAtOf(request.kept);
      const refusal = refusalAt(connection, request.now, renewedAt);
      if (refusal) return refusal;
      const session = { scenario: name, seed, connectedAt: request.connectedAt };
      return request.attended ? { kind: 'authenticated', session, keep: { renewedAt } } : { kind: 'authenticated', session };
    },
    async listAccounts({ session, now }, signal) {
      const connection = await connectionOf(session);
      if (connection === null) return null;
      if (connection === 'gone') return CRASHED;
      await answer(connection, now, signal);
      return { kind: 'accounts', accounts: accountsAt(connection, now), complete: true };
    },
    async fetchAccount(request, signal) {
      const connection = await connectionOf(request.session);
      if (connection === null) return null;
      if (connection === 'gone') return CRASHED;
      await answer(connection, request.now, signal);
      const batch = batchAt(connection, request);
      return batch ? { kind: 'fetched', batches: [batch] } : CRASHED;
    },
  };
}

function renewedAtOf(kept: Json): number | null {
  if (kept === null || typeof kept !== 'object' || Array.isArray(kept)) return null;
  return typeof kept.renewedAt === 'number' ? kept.renewedAt : null;
}
