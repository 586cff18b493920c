/** Stored rows that the bank does not show: which are gone, which are held for a second opinion, and when that is too many. */
import type { Balance } from '../../connectors/connector.ts';
import { contribution, moved, movement, VIEWS } from './balance.ts';
import type { Change } from './changes.ts';
import type { Matching, Stored } from './entries.ts';
import { coveredRows, LARGE_ROWS, LARGE_SHARE } from './stages-uncertain.ts';
import type { Breaker, BreakerRow, DeletionReason, HoldReason, StoredTransaction } from './types.ts';
import { vouchesFor } from './window.ts';

/** Two lists within this time are one look at the bank, not two. */
const LOOKS_APART_MS = 6 * 3_600_000;
const LOOKS_TO_CONFIRM = 2;
/** After this time a second complete list confirms a mass deletion even if neither was full. */
const MASS_DELETION_APART_MS = 20 * 3_600_000;

type Proposal = { readonly stored: Stored; readonly after: StoredTransaction; readonly reason: DeletionReason };

export type Judgement = { readonly changes: readonly Change[]; readonly breaker: Breaker | null };

export type Circumstances = {
  /** What the batch changed so far: matched and created rows. */
  readonly changes: readonly Change[];
  readonly balanceBefore: Balance | null;
  readonly balanceAfter: Balance | null;
  readonly breaker: Breaker | null;
  readonly fullRefresh: boolean;
};

export function judgeAbsences(matching: Matching, circumstances: Circumstances): Judgement {
  const { now, window } = matching;
  const certain: Change[] = [...matching.voided].map((stored) => deletion(stored.row, 'correction', now));
  const absent: Stored[] = [];
  const unsuspected: Change[] = [];
  const refuted = refutedLists(matching);
  for (const stored of matching.live) {
    if (stored.taken) continue;
    const vouched = vouchesFor(window, stored.status, stored.day);
    const replacement = matching.replaced.get(stored);
    // Not an absence: the bank shows what has become of the row. Held back, it would stand beside its successor.
    if (replacement !== undefined && !replacement.taken) certain.push(deletion(stored.row, 'amount_changed', now));
    else if (vouched && stored.status === 'booked') absent.push(stored);
    else if (vouched) certain.push(deletion(stored.row, 'pending_gone', now));
    else if (refuted.has(stored.row.missingAt)) unsuspected.push(withoutSuspicion(stored.row));
  }
  const agrees = balanceAgrees(absent, [...circumstances.changes, ...certain], circumstances);
  const waiting = new Map(circumstances.breaker?.rows.map((row) => [row.id, row]));
  const held: Change[] = [];
  const proposals: Proposal[] = [];
  for (const stored of absent) {
    const after = missedOnceMore(stored.row, now);
    const reason = deletionReason(after, window.coverage.absenceIsFinal === true, agrees, waiting.has(after.id));
    if (reason === null) held.push(hold(stored.row, after, after === stored.row ? 'absence_too_soon' : 'first_absence'));
    else proposals.push({ stored, after, reason });
  }
  const decided = new Set([...certain, ...unsuspected].map(({ after }) => after.id));
  const { changes, breaker } = passBreaker(matching, proposals, decided, circumstances);
  return { changes: [...certain, ...held, ...unsuspected, ...changes], breaker };
}

/**
 * When lists were compared that lacked a row which is shown again: they were not the whole truth. What else they lacked is
 * suspected no longer where this list does not speak of it; else a bank that shows a page and now and then nothing at all would
 * have all that is older than the page deleted, though each time its next answer proved it wrong.
 */
function refutedLists({ pairs }: Matching): ReadonlySet<number | null> {
  const lists = new Set<number | null>();
  for (const { stored } of pairs) if (stored.status === 'booked' && stored.row.missingAt !== null) lists.add(stored.row.missingAt);
  return lists;
}

function withoutSuspicion(row: StoredTransaction): Change {
  return { before: row, after: { ...row, missing: 0, missingAt: null }, reason: { kind: 'unsuspected' } };
}

function deletion(row: StoredTransaction, reason: DeletionReason, now: number): Change {
  return { before: row, after: { ...row, deletedAt: now }, reason: { kind: 'deleted', reason } };
}

function hold(before: StoredTransaction, after: StoredTransaction, reason: HoldReason): Change {
  return { before, after, reason: { kind: 'held', reason } };
}

function missedOnceMore(row: StoredTransaction, now: number): StoredTransaction {
  if (row.missingAt !== null && now - row.missingAt < LOOKS_APART_MS) return row;
  return { ...row, missing: row.missing + 1, missingAt: now };
}

function deletionReason(row: StoredTransaction, final: boolean, balanceAgrees: boolean, proposedBefore: boolean): DeletionReason | null {
  if (final) return 'absence_final';
  if (balanceAgrees) return 'balance_agrees';
  return row.missing >= LOOKS_TO_CONFIRM || proposedBefore ? 'missing_confirmed' : null;
}

/** Whether the balance moved by exactly the removal of the absent rows, on top of everything else that changed. */
function balanceAgrees(absent: readonly Stored[], decided: readonly Change[], { balanceBefore, balanceAfter }: Circumstances): boolean {
  const by = movement(balanceBefore, balanceAfter);
  if (absent.length === 0 || by === null || balanceAfter === null) return false;
  const { currency } = balanceAfter.amount;
  if (absent.some(({ row }) => row.amount.currency !== currency)) return false;
  const removed = absent.reduce((total, { row }) => total + contribution(row, currency, 'booked'), 0n);
  return removed !== 0n && VIEWS.some((view) => by - moved(decided, currency, view) === -removed);
}

/**
 * Applies the proposed deletions of booked rows, unless they are so many that the bank is more likely wrong. Rows that are
 * `decided` already wait no longer.
 */
function passBreaker(
  matching: Matching,
  proposals: readonly Proposal[],
  decided: ReadonlySet<number>,
  { breaker, fullRefresh }: Circumstances,
): Judgement {
  const { now } = matching;
  const earlier = new Map(breaker?.rows.map((row) => [row.id, row]));
  const applied: Change[] = [];
  const open: Proposal[] = [];
  for (const proposal of proposals) {
    const { id } = proposal.stored.row;
    // A row of this very refresh was never shown to anyone.
    if (id < 0) applied.push(remove(proposal, proposal.reason, now));
    else if (breaker?.released || isConfirmed(earlier.get(id), fullRefresh, now))
      applied.push(remove(proposal, 'mass_deletion_confirmed', now));
    else open.push(proposal);
  }
  const covered = open.length > LARGE_ROWS ? coveredRows(matching) : 0;
  const tripped = open.length > Math.max(LARGE_ROWS, LARGE_SHARE * covered);
  const proposed = new Set(proposals.map(({ stored }) => stored.row.id));
  const rows: BreakerRow[] = matching.live.flatMap((stored) => {
    const row = earlier.get(stored.row.id);
    return row === undefined || stored.taken || proposed.has(row.id) || decided.has(row.id) ? [] : [row];
  });
  for (const proposal of open) {
    const { row } = proposal.stored;
    if (tripped) {
      const { at, fullAt } = earlier.get(row.id) ?? { at: now, fullAt: null };
      rows.push({ id: row.id, at, fullAt: fullAt ?? (fullRefresh ? now : null) });
      applied.push(hold(row, proposal.after, 'mass_deletion'));
    } else {
      applied.push(remove(proposal, proposal.reason, now));
    }
  }
  if (tripped) matching.anomalies.push({ kind: 'mass_deletion', proposed: open.length, covered });
  const released = breaker?.released === true && proposals.length === 0;
  rows.sort((a, b) => a.id - b.id);
  return { changes: applied, breaker: rows.length > 0 ? { rows, released } : null };
}

function remove({ stored, after }: Proposal, reason: DeletionReason, now: number): Change {
  return { before: stored.row, after: { ...after, deletedAt: now }, reason: { kind: 'deleted', reason } };
}

/** Two full refreshes agree, or two complete ones a night apart. */
function isConfirmed(earlier: BreakerRow | undefined, fullRefresh: boolean, now: number): boolean {
  if (earlier === undefined) return false;
  return (fullRefresh && earlier.fullAt !== null && earlier.fullAt < now) || now - earlier.at >= MASS_DELETION_APART_MS;
}
