/** One refresh and its bank's patience: whether the bank is asked, what that costs, and when the item is due again. */
import type { Band } from '../../connectors/access.ts';
import type { Bank, ObservedAccount, StatusCode } from '../../connectors/connector.ts';
import type { Item } from '../../items/items.ts';
import type { Refresh } from '../../items/refreshes.ts';
import type { Writer } from '../../storage/storage.ts';
import { type Circuit, isBankFailure } from './circuit.ts';
import { type BankOutcomes, type CircuitChange, circuitChange, writeCircuit } from './circuits.ts';
import { type Asking, asksOnlyFailed, decideAfter, decideAsking, isFullRefreshDue, mayComplete } from './decide.ts';
import { type Asker, accountKey, SCOPES, spend } from './ledger.ts';
import { rulesFor } from './rules.ts';
import { readState, readStateOrNothing, type ScheduleState, writeState } from './state.ts';

export type Paced = {
  item: Pick<Item, 'id' | 'bankId' | 'schedule' | 'consentExpiresAt'>;
  refresh: Pick<Refresh, 'cause' | 'phase' | 'epoch' | 'failedRuns' | 'silentRuns' | 'challengeState'>;
  /** It failed by a fault of ours so often that the bank is not asked any more: it ends as a failure that time may mend. */
  givenUp: boolean;
  bank: Bank | null;
  /** `production`, or the sandbox application whose clock rules. */
  domain: string;
  applicationBands: readonly Band[] | null;
  circuit: Circuit | null;
  /** The application's clock. */
  now: number;
};

/** What the end of a refresh writes beside its rows. */
export type PacedEnd = { dueAt: number | null; schedule: string; circuit: CircuitChange; fullRefreshDue: boolean; mayComplete: boolean };

export type EndedRefresh = {
  status: StatusCode;
  /** The login, the list of accounts or every account failed, rather than some: then it says something of the bank. */
  failedWhole: boolean;
  /** The accounts that fail while others answer; null where none does, or the refresh failed as a whole. */
  someFailed: readonly KeyedAccount[] | null;
  /** The whole history was asked for, and the bank answered. */
  full: boolean;
  connectedOnce: boolean;
  retryAfterMs: number | null;
  consentExpiresAt: number | null;
};

type KeyedAccount = Parameters<typeof accountKey>[0];

export type Pacing = {
  /** Only where credentials were refused before are they compared: `fingerprint` is asked for then. */
  decide(
    accounts: readonly (KeyedAccount & { status: number; deletedAt: number | null })[],
    fingerprint: () => Promise<string>,
  ): Promise<Asking>;
  /** The bank is asked to let somebody in. A challenge that goes on is the same login, counted when it was shown. */
  onLogin(): void;
  /** It was asked in a run before this one, where that was counted. */
  onHeard(): void;
  onFetch(account: Pick<ObservedAccount, 'identity' | 'type' | 'currency' | 'name'>): void;
  /**
   * The schedule of an item whose refresh goes on in another run, with what was spent of the bank, and what it has refused or
   * wished; null where that is nothing.
   */
  spentBy(now: number): string | null;
  end(ended: EndedRefresh, fingerprint: () => Promise<string>, outcomes: BankOutcomes, now: number): Promise<PacedEnd>;
  writeCircuit(tx: Writer, change: CircuitChange, now: number): Promise<void>;
  /** While its bank is suspended, an item whose bank fails again shows that (1007), not a failure of its own (1003). */
  shown<T extends { status: StatusCode; info: string | null }>(failure: T): T;
};

export function askerOf(cause: Refresh['cause']): Asker {
  switch (cause) {
    case 'connect':
      return 'user';
    case 'completion':
      return 'completion';
    case 'api':
      return 'request';
    case 'scheduler':
      return 'scheduler';
    default:
      return cause satisfies never;
  }
}

export function pace({ item, refresh, givenUp, bank, domain, applicationBands, circuit, now: beganAt }: Paced): Pacing {
  const rules = rulesFor(bank, applicationBands);
  const asker = askerOf(refresh.cause);
  const before = givenUp ? readStateOrNothing(item.schedule) : readState(item.schedule);
  const silent = { logins: refresh.silentRuns, accounts: [], scopes: SCOPES };
  const state = refresh.silentRuns > 0 ? { ...before, ledger: spend(before.ledger, rules, asker, silent, beganAt) } : before;
  const goesOn = refresh.challengeState !== null;
  // Nobody has asked for it once more: it asks for itself, and keeps to what the item may spend and what the bank has said.
  const hasRun = refresh.failedRuns > 0 || (asker === 'completion' && refresh.epoch > 1);
  const again = hasRun && !goesOn;
  const place = { domain, bankId: item.bankId };
  const known = { itemId: item.id, state, rules, circuit, consentExpiresAt: item.consentExpiresAt };
  const spent = { logins: 0, accounts: [] as string[], scopes: SCOPES };
  let heard: Pick<ScheduleState, 'refused' | 'patientUntil' | 'someFailed'> = state;
  let asked = false;
  let onlyFailed = false;
  let sparedUntil: number | null = null;

  /** Credentials that cannot be read any more are as refused as they were: that must not keep a refresh from its end. */
  async function printOf(fingerprint: () => Promise<string>): Promise<string | null> {
    try {
      return await fingerprint();
    } catch (error) {
      if (givenUp) return state.refused;
      throw error;
    }
  }

  return {
    async decide(accounts, fingerprint) {
      // Where the whole history is wanted, it is of all accounts.
      onlyFailed = refresh.phase !== 'full' && asksOnlyFailed(state, asker, beganAt);
      const named = rules.callsPerDay !== null || state.someFailed !== null;
      const live = named ? accounts.filter(({ deletedAt }) => deletedAt === null) : [];
      const failed = new Set(live.filter(({ status }) => isBankFailure(status)).map(accountKey));
      const refused = state.refused === null ? null : await fingerprint();
      const asking = decideAsking({ ...known, now: beganAt }, asker, live.map(accountKey), refused, { failed, onlyFailed, again });
      if (asking.kind === 'spare') sparedUntil = asking.until;
      return asking;
    },
    onLogin() {
      asked = true;
      spent.logins = goesOn ? 0 : 1;
    },
    onHeard() {
      asked = true;
    },
    onFetch(account) {
      if (rules.callsPerDay !== null) spent.accounts.push(accountKey(account));
    },
    spentBy(now) {
      const nothing = spent.logins + spent.accounts.length + refresh.silentRuns === 0 && heard === state;
      if (nothing) return null;
      const { refused, patientUntil } = heard;
      // A wish is of the whole item where the refresh failed as a whole; of which accounts it is else is not written yet.
      const someFailed = heard.someFailed === null ? null : state.someFailed;
      return writeState({ ...state, refused, patientUntil, someFailed, ledger: spend(state.ledger, rules, asker, spent, now) });
    },
    async end(ended, fingerprint, outcomes, now) {
      const { failedWhole, consentExpiresAt, ...rest } = ended;
      const { status } = rest;
      const someFailed = ended.someFailed?.map(accountKey) ?? null;
      const print = status === 402 || state.refused !== null ? await printOf(fingerprint) : null;
      const { state: after, dueAt } = decideAfter(
        { ...known, consentExpiresAt, now },
        { asker, ...rest, someFailed, onlyFailed, spent: asked || givenUp ? spent : null, sparedUntil, fingerprint: print },
      );
      if (asked) heard = after;
      const bankFailed = failedWhole && isBankFailure(status);
      const opensNow = asked && outcomes.note(domain, item.bankId, item.id, { at: now, failed: bankFailed });
      const change = asked ? circuitChange(circuit, item.id, bankFailed, opensNow) : null;
      if (change === 'close') outcomes.forget(domain, item.bankId);
      const fullRefreshDue = isFullRefreshDue(after, rules, dueAt);
      return { dueAt, schedule: writeState(after), circuit: change, fullRefreshDue, mayComplete: mayComplete(after, rules, now) };
    },
    async writeCircuit(tx, change, now) {
      if (change !== null) await writeCircuit(tx, place, circuit, change, now);
    },
    shown: (failure) => (circuit && failure.status === 1003 && asker !== 'user' ? { ...failure, status: 1007, info: null } : failure),
  };
}
