/** Short ways to write rows, lists and stored state in the tests of this folder. */
import { money } from '../../base/money.ts';
import type { Balance, Batch, Coverage, Observation } from '../../connectors/connector.ts';
import { detect } from './detect.ts';
import { NO_TRUST } from './identifiers.ts';
import type { DetectionInput, Outcome, StoredTransaction } from './types.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
/** 2026-03-20T12:00Z. */
export const NOON = 1_774_008_000_000;

export const COMPLETE: Coverage = {
  windows: [{ from: '2026-01-01', to: '2026-03-31' }],
  bookedComplete: true,
  pendingComplete: true,
  scheduledComplete: true,
  edgeExclusive: false,
  historyComplete: false,
};

/** A booked row of `minor` cents on `day` of March 2026. */
export function row(minor: number, day: number, rawText: string, more: Partial<Observation> = {}): Observation {
  const bookingDate = `2026-03-${String(day).padStart(2, '0')}`;
  return { status: 'booked', amount: money(minor, 2, 'EUR'), bookingDate, rawText, ...more };
}

export function pending(minor: number, day: number, rawText: string, more: Partial<Observation> = {}): Observation {
  const { bookingDate, ...rest } = row(minor, day, rawText);
  return { ...rest, transactionDate: bookingDate!, status: 'pending', ...more };
}

export function euros(minor: number): Balance {
  return { amount: money(minor, 2, 'EUR'), kind: 'booked', at: null };
}

export function list(observations: readonly Observation[], coverage: Partial<Coverage> = {}, balance: Balance | null = null): Batch {
  return { observations, coverage: { ...COMPLETE, ...coverage }, balance };
}

/** What an account remembers between refreshes. */
export type Memory = Pick<DetectionInput, 'stored' | 'trust' | 'balance' | 'breaker'> & { readonly lastId: number };

export const BLANK: Memory = { stored: [], trust: NO_TRUST, balance: { current: null }, breaker: null, lastId: 0 };

export type Look = { readonly outcome: Outcome; readonly memory: Memory };

export function look(memory: Memory, batches: Batch | readonly Batch[], now = NOON, more: Partial<DetectionInput> = {}): Look {
  const input = { accountType: 'checking' as const, fullRefresh: false, windowFrom: null, ...memory, ...more, now };
  const outcome = detect({ ...input, batches: 'observations' in batches ? [batches] : batches });
  return { outcome, memory: remember(memory, outcome) };
}

/** Applies an outcome as storage does: ids in the order of `created`. */
export function remember(memory: Memory, outcome: Outcome): Memory {
  const rows = new Map<number, StoredTransaction>(memory.stored.map((stored) => [stored.id, stored]));
  for (const { after } of outcome.updated) rows.set(after.id, after);
  for (const { row: after } of [...outcome.deleted, ...outcome.held]) rows.set(after.id, after);
  for (const after of outcome.touched) rows.set(after.id, after);
  let { lastId } = memory;
  for (const { row: after } of outcome.created) {
    lastId += 1;
    rows.set(lastId, { ...after, id: lastId });
  }
  return { stored: [...rows.values()], trust: outcome.trust, balance: { current: outcome.balance }, breaker: outcome.breaker, lastId };
}

export function liveRows({ stored }: Memory): readonly StoredTransaction[] {
  return stored.filter(({ deletedAt }) => deletedAt === null);
}

/** `new/updated/deleted` as one word. */
export function counts({ outcome }: Look): string {
  return `${outcome.counts.new}/${outcome.counts.updated}/${outcome.counts.deleted}`;
}

/** Ten unremarkable rows with ids, seen twice: enough for the ids to be known as stable. */
export function background(prefix = 'bg'): readonly Observation[] {
  return Array.from({ length: 10 }, (_, at) => row(-1000 - at, at + 1, `PRLV ABONNEMENT NUMERO ${at}`, { providerId: `${prefix}${at}` }));
}

export function withStableIds(): Memory {
  return look(look(BLANK, list(background())).memory, list(background())).memory;
}
