/** What the scheduler has in mind for an item, for whoever asks. */
import { DAY_MS, MINUTE_MS } from '../../base/clock.ts';
import type { Band } from '../../connectors/access.ts';
import type { Connector } from '../../connectors/connector.ts';
import { type Sql, sql } from '../../storage/sql.ts';
import type { Reader, Writer } from '../../storage/storage.ts';
import type { Beginning } from '../beginning.ts';
import { readBeginning } from '../beginning.ts';
import { consentNotice, possibleAt } from './decide.ts';
import { type Asker, accountKey, callsFreeAt, callsLeft, forgetOld, SCOPES, type Scope } from './ledger.ts';
import { type Rules, readBands, rulesFor, writeBands } from './rules.ts';
import { readStateOrNothing, type ScheduleState } from './state.ts';

/** Times are the application's. */
export type ItemSchedule = {
  itemId: number;
  nextRefreshAt: number | null;
  /** When a refresh asked over the API would reach the bank; null while only the user can help. */
  nextRefreshPossibleAt: number | null;
  /** Unattended ones; 0 where the bank is not asked without the user, or is not known. */
  refreshesPerDay: number;
  failuresInARow: number;
  /** The bank refused these credentials: they are not tried again until they change or the user comes. */
  credentialsRefused: boolean;
  /** The bank fails for most of its items, and is asked by one of them at `probeAt`. */
  bankSuspended: { since: number; probeAt: number } | null;
  consent: { expiresAt: number; daysLeft: number; noticeDays: number | null } | null;
  rules: Rules;
  loginsIn24h: number;
  /** Null where the bank sets no limit. */
  quotas: readonly AccountQuota[] | null;
};
export type AccountQuota = { accountId: number; left: Readonly<Record<Scope, { request: number; scheduler: number }>>; freeAt: number };

type ReadServices = { storage: Reader; connector: (bankId: number) => Connector | null };

/** Null for an item that is not the application's. */
export async function readItemSchedule(
  services: ReadServices,
  applicationId: string,
  itemId: number,
  realNow: number,
): Promise<ItemSchedule | null> {
  const beginning = await readBeginning(services.storage, itemId);
  if (beginning?.item.applicationId !== applicationId) return null;
  const due = await services.storage.first<{ due_at: number | null }>(sql`select due_at from items where id = ${itemId}`);
  const { item, circuit, clockOffsetMs } = beginning;
  const now = realNow + clockOffsetMs;
  const bank = services.connector(item.bankId)?.bank ?? null;
  const rules = rulesFor(bank, readBands(beginning.refreshBands));
  const state = readStateOrNothing(item.schedule);
  const { consentExpiresAt } = item;
  const refused = state.refused !== null && item.status === 402;
  const possible = refused ? null : possibleAt({ itemId, state, rules, consentExpiresAt, circuit, now });
  return {
    itemId,
    nextRefreshAt: due?.due_at == null ? null : due.due_at + clockOffsetMs,
    nextRefreshPossibleAt: possible,
    refreshesPerDay: bank?.unattended ? Math.min(rules.maxUnattendedPerDay, rules.bands.length) : 0,
    failuresInARow: Math.max(state.failures, state.someFailed?.times ?? 0),
    credentialsRefused: refused,
    bankSuspended: circuit && { since: circuit.openedAt, probeAt: circuit.probeAt },
    consent:
      consentExpiresAt === null
        ? null
        : {
            expiresAt: consentExpiresAt,
            daysLeft: Math.max(0, Math.floor((consentExpiresAt - now) / DAY_MS)),
            noticeDays: consentNotice(consentExpiresAt, now),
          },
    rules,
    loginsIn24h: forgetOld(state.ledger, now).logins.length,
    quotas: rules.callsPerDay === null ? null : quotasOf(beginning, state, rules, now),
  };
}

function quotasOf({ accounts }: Beginning, { ledger }: ScheduleState, rules: Rules, now: number): AccountQuota[] {
  return accounts
    .filter(({ deletedAt }) => deletedAt === null)
    .map((account) => {
      const key = accountKey(account);
      const left = (asker: Asker, scope: Scope) => callsLeft(ledger, rules, asker, key, scope, now) ?? 0;
      const ofScope = (scope: Scope) => ({ request: left('request', scope), scheduler: left('scheduler', scope) });
      const [balances, transactions] = [ofScope(SCOPES[0]!), ofScope(SCOPES[1]!)];
      return { accountId: account.id, left: { balances, transactions }, freeAt: callsFreeAt(ledger, rules, 'request', key, now) };
    });
}

export async function bandsOfApplication(reader: Reader, applicationId: string): Promise<readonly Band[] | null> {
  const row = await reader.first<{ refresh_bands: string | null }>(sql`select refresh_bands from applications where id = ${applicationId}`);
  return readBands(row?.refresh_bands ?? null);
}

/** Items keep the moment for which they are due already; from the next refresh on they follow the new bands. */
export async function setBandsOfApplication(tx: Writer, applicationId: string, bands: readonly Band[] | null): Promise<void> {
  const written = bands === null ? null : writeBands(bands);
  const change: Sql = sql`update applications set refresh_bands = ${written} where id = ${applicationId}`;
  await tx.run(change);
}

const TIME = /^([01]\d|2[0-4]):([0-5]\d)$/;

/** `04:30` as minutes of the day; `24:00` is its end. Null for anything else. */
export function readTimeOfDay(text: string): number | null {
  const match = TIME.exec(text);
  if (!match) return null;
  const minute = Number(match[1]) * 60 + Number(match[2]);
  return minute * MINUTE_MS <= DAY_MS ? minute : null;
}

export function writeTimeOfDay(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
}
