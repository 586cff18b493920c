/**
 * Change detection: from what is stored and what the bank shows to counted changes, each with its reason.
 * Pure, and the same whatever the order of the rows. The rules and their grounds: docs on change detection.
 */
import type { Balance, Batch, CalendarDate } from '../../connectors/connector.ts';
import { judgeAbsences } from './absence.ts';
import { balanceChanged, chooseBalance, isExplained, movement } from './balance.ts';
import { addChanges, type Change, type Net, type NetChanges, sortChanges } from './changes.ts';
import { byContent, created, type Matching, merged, openMatching, settledPair } from './entries.ts';
import { learn, trustLevel } from './identifiers.ts';
import { calendarDate, dayNumber, dayOfInstant } from './normalise.ts';
import { applyCorrections, indexIds, matchContent, matchIds, matchLinks } from './stages-certain.ts';
import { matchDriftedLabels, matchMovedDates } from './stages-likely.ts';
import { matchAmountsAtBooking, matchDeletedPending, matchRelabelled, matchReturned } from './stages-uncertain.ts';
import type { Anomaly, Breaker, DetectionInput, Outcome, StoredTransaction, Trust } from './types.ts';
import { splitUnchanged } from './unchanged.ts';
import { withDates } from './undated.ts';
import { nextFloor } from './window.ts';

/** What is carried from batch to batch. */
type Progress = {
  rows: readonly StoredTransaction[];
  trust: Trust;
  /** Earlier evidence on ids decays once a refresh. */
  learned: boolean;
  balance: Balance | null;
  /** Whether a batch brought a balance that counts. */
  balanceKnown: boolean;
  breaker: Breaker | null;
  created: number;
  idConflicts: number;
  readonly anomalies: Anomaly[];
};

export function detect(input: DetectionInput): Outcome {
  const { stored, batches, now } = input;
  const progress: Progress = {
    rows: stored,
    trust: input.trust,
    learned: false,
    balance: input.balance.current,
    balanceKnown: false,
    breaker: input.breaker,
    created: 0,
    idConflicts: 0,
    anomalies: [],
  };
  const net = new Map<number, Net>();
  batches.forEach((batch, at) => {
    const observations = withDates(batch.observations, progress.rows, now);
    const changes = applyBatch(progress, { ...batch, observations }, input);
    addChanges(net, changes);
    if (at < batches.length - 1) progress.rows = withChanges(progress.rows, changes);
  });
  const { created, updated, deleted, held, touched } = sortChanges(net);
  const counts = { new: created.length, updated: updated.length, deleted: deleted.length };
  const changed = balanceChanged(input.balance.current, progress.balance);
  const comparable = movement(input.balance.current, progress.balance) !== null;
  const quiet = counts.new + counts.updated + counts.deleted + held.length === 0;
  const complete = batches.every(({ coverage }) => coverage.bookedComplete);
  return {
    created,
    updated,
    deleted,
    held,
    touched,
    counts,
    balance: progress.balance,
    balanceChanged: changed,
    explained: !progress.balanceKnown || isExplained(input.balance.current, progress.balance, withoutBackfill(input, net)),
    // Of one that becomes known, or turns into another currency, nobody can say by how much it moved.
    incomplete1009: changed && comparable && complete && quiet && input.accountType !== 'loan',
    trust: progress.trust,
    breaker: progress.breaker,
    anomalies: progress.anomalies,
    fullRefreshWanted: progress.anomalies.some(({ kind }) => kind !== 'crowded') || (progress.breaker?.rows.length ?? 0) > 0,
    nextWindowFrom: nextFloor(input.windowFrom, windowFloor(stored, net, now), batches, now),
    idConflicts: progress.idConflicts,
  };
}

function applyBatch(progress: Progress, batch: Batch, { fullRefresh, now }: DetectionInput): readonly Change[] {
  const split = splitUnchanged(progress.rows, batch.observations, (evidence) => {
    progress.trust = learn(progress.trust, evidence, !progress.learned);
    progress.learned ||= evidence.agreements + evidence.disagreements > 0;
    return trustLevel(progress.trust);
  });
  const matching = openMatching(split, batch, now);
  for (const found of split.touched) matching.pairs.push(settledPair(found, split.repeated));
  if (matching.fetched.length > 0) runStages(matching);

  const changes = [...changesOfPairs(matching), ...creations(matching, progress)];
  const balanceBefore = progress.balance;
  progress.balance = chooseBalance(balanceBefore, batch.balance);
  // No balance, or one that is older than the known one, says nothing about what this batch lacks.
  const balanceAfter = progress.balance === batch.balance ? batch.balance : null;
  progress.balanceKnown ||= balanceAfter !== null;
  const { breaker } = progress;
  const judgement = judgeAbsences(matching, { changes, balanceBefore, balanceAfter, breaker, fullRefresh });
  progress.breaker = judgement.breaker;
  progress.idConflicts += matching.idConflicts;
  progress.anomalies.push(...matching.anomalies);
  return withSingleOwners(changes.concat(judgement.changes), matching);
}

function runStages(matching: Matching): void {
  const ids = indexIds(matching);
  applyCorrections(matching, ids);
  matchLinks(matching, ids);
  matchIds(matching, ids);
  matchContent(matching);
  matchMovedDates(matching);
  matchDriftedLabels(matching);
  matchAmountsAtBooking(matching);
  matchReturned(matching);
  matchDeletedPending(matching);
  matchRelabelled(matching);
}

/**
 * Rows older than all that is stored were in the balance before: history that is fetched later moves nothing. Where nothing is
 * stored yet, those before the day of the known balance were in it.
 */
function withoutBackfill({ stored, balance }: DetectionInput, net: NetChanges): Net[] {
  if (net.size === 0) return [];
  let oldest = NEVER;
  for (const { deletedAt, date } of stored) if (deletedAt === null && date < oldest) oldest = date;
  if (oldest === NEVER) oldest = balance.current?.at ?? NEVER;
  return [...net.values()].filter(({ before, after }) => before !== null || after.date >= oldest);
}

function changesOfPairs(matching: Matching): Change[] {
  const changes: Change[] = [];
  for (const { stored, fetched, evidence } of matching.pairs) {
    const after = merged(matching, stored, fetched);
    if (after === stored.row) continue;
    changes.push({ before: stored.row, after, reason: { kind: 'matched', observation: fetched.observation, evidence } });
  }
  return changes;
}

function creations(matching: Matching, progress: Progress): Change[] {
  const unmatched = matching.fetched.filter((entry) => !entry.taken).sort(byContent);
  return unmatched.map((entry) => {
    progress.created += 1;
    const cause = matching.doubts.get(entry) ?? 'nothing_alike';
    return { before: null, after: created(entry, -progress.created), reason: { kind: 'created', observation: entry.observation, cause } };
  });
}

/** An id belongs to one row: whoever carried an id that another row has now, or had before, loses it. */
function withSingleOwners(changes: readonly Change[], { live, dead, settled, trust }: Matching): readonly Change[] {
  if (live.length + dead.length + settled.length === 0) return changes;
  const owners = new Map<string, number>();
  for (const { before, after } of changes) {
    if (after.providerId !== null && after.providerId !== before?.providerId) owners.set(after.providerId, after.id);
  }
  if (owners.size === 0) return changes;
  const lost = new Map<StoredTransaction, Set<string>>();
  const lose = (row: StoredTransaction, id: string) => {
    const owner = owners.get(id);
    if (owner === undefined || owner === row.id) return;
    const gone = lost.get(row);
    if (gone === undefined) lost.set(row, new Set([id]));
    else gone.add(id);
  };
  for (const { row } of [...live, ...dead]) {
    if (row.providerId !== null) lose(row, row.providerId);
    for (const alias of row.aliases) lose(row, alias);
  }
  for (const row of settled) {
    // Where ids are believed, the present id of a settled row was shown with it and with no other.
    if (trust === 'unstable' && row.providerId !== null) lose(row, row.providerId);
    if (row.aliases.length > 0) for (const alias of row.aliases) lose(row, alias);
  }
  if (lost.size === 0) return changes;
  const result = changes.map((change): Change => {
    const gone = change.before === null ? undefined : lost.get(change.before);
    if (gone === undefined || change.before === null) return change;
    lost.delete(change.before);
    return { ...change, after: withoutIds(change.after, gone) };
  });
  for (const [row, gone] of lost) result.push({ before: row, after: withoutIds(row, gone), reason: { kind: 'id_lost' } });
  return result;
}

function withoutIds(row: StoredTransaction, gone: ReadonlySet<string>): StoredTransaction {
  const providerId = row.providerId !== null && gone.has(row.providerId) ? null : row.providerId;
  return { ...row, providerId, aliases: row.aliases.filter((alias) => !gone.has(alias)) };
}

function withChanges(rows: readonly StoredTransaction[], changes: readonly Change[]): StoredTransaction[] {
  const after = new Map(changes.map((change) => [change.after.id, change.after]));
  const kept = rows.map((row) => after.get(row.id) ?? row);
  return [...kept, ...changes.filter(({ before }) => before === null).map((change) => change.after)];
}

/** After any date of a row. */
const NEVER: CalendarDate = '9999-12-31';

/** Days looked at again: late bookings, holds that are shown under an earlier date. */
const BOOKED_OVERLAP_DAYS = 14;
const PENDING_OVERLAP_DAYS = 3;

/** Pending rows and rows under suspicion must stay inside the next window. */
function windowFloor(stored: readonly StoredTransaction[], net: NetChanges, now: number): CalendarDate | null {
  let lastBooked = '';
  let oldestPending: CalendarDate | null = null;
  let oldestHeld: CalendarDate | null = null;
  const look = ({ deletedAt, status, date, missing }: StoredTransaction) => {
    if (deletedAt !== null) return;
    if (status === 'booked') {
      if (date > lastBooked) lastBooked = date;
      if (missing > 0 && (oldestHeld === null || date < oldestHeld)) oldestHeld = date;
    } else if (oldestPending === null || date < oldestPending) {
      oldestPending = date;
    }
  };
  for (const row of stored) look(net.size === 0 ? row : (net.get(row.id)?.after ?? row));
  for (const { before, after } of net.values()) if (before === null) look(after);
  if (lastBooked === '') return null;
  // A row booked under a future date must not pull the window past today.
  const days = [Math.min(dayNumber(lastBooked), dayOfInstant(now)) - BOOKED_OVERLAP_DAYS];
  if (oldestPending !== null) days.push(dayNumber(oldestPending) - PENDING_OVERLAP_DAYS);
  if (oldestHeld !== null) days.push(dayNumber(oldestHeld));
  return calendarDate(Math.min(...days));
}
