/** What the receipts of one webhook say about its deliveries, and how often all of them may repeat themselves. Pure. */
import { UNFLUSHED_MAX } from '../../src/delivery/settling/settler.ts';
import { CONCURRENCY_DEFAULT } from '../../src/endpoints/limits.ts';
import type { Receipt } from './receiver.ts';

export type Told = { id: string; itemId: number; lane: number; seq: number };
export type Verdict = {
  /** Events that were never accepted. */
  lost: string[];
  /** Ids that no event has. */
  invented: string[];
  /** Events of one item that were received before an earlier one of it was accepted. */
  disordered: string[];
  /** Bodies that differ between two attempts of one event. */
  changed: string[];
  /** Sequence headers that are not one more than their predecessor's of the item. */
  gaps: string[];
  /** Accepted again after they had been accepted. */
  repeats: number;
};

/** `events` are those that the webhook matches; `ordered` says whether it promises their order. */
export function judge(events: readonly Told[], receipts: readonly Receipt[], ordered: boolean): Verdict {
  const known = new Set(events.map(({ id }) => id));
  const firstSeen = new Map<string, number>();
  const firstAccepted = new Map<string, number>();
  const bodies = new Map<string, string>();
  const sequences = new Map<string, number | null>();
  const verdict: Verdict = { lost: [], invented: [], disordered: [], changed: [], gaps: [], repeats: 0 };
  receipts.forEach(({ id, accepted, body, sequence }, index) => {
    if (!known.has(id)) verdict.invented.push(id);
    if (!firstSeen.has(id)) firstSeen.set(id, index);
    if (accepted && firstAccepted.has(id)) verdict.repeats += 1;
    else if (accepted) firstAccepted.set(id, index);
    if (bodies.has(id) && bodies.get(id) !== body) verdict.changed.push(id);
    bodies.set(id, body);
    sequences.set(id, sequence);
  });
  verdict.lost = events.filter(({ id }) => !firstAccepted.has(id)).map(({ id }) => id);
  for (const [item, group] of Map.groupBy(events, ({ itemId }) => itemId)) {
    const inOrder = group.toSorted((a, b) => a.seq - b.seq);
    inOrder.forEach(({ id }, index) => {
      const before = inOrder[index - 1];
      if (!before) return;
      const early = (firstSeen.get(id) ?? Number.POSITIVE_INFINITY) < (firstAccepted.get(before.id) ?? Number.POSITIVE_INFINITY);
      if (ordered && early) verdict.disordered.push(`${id} of item ${item} before ${before.id}`);
      const [now, then] = [sequences.get(id), sequences.get(before.id)];
      if (now != null && then != null && now !== then + 1) verdict.gaps.push(`${id} of item ${item}: ${then}, then ${now}`);
    });
  }
  return verdict;
}

export function faultsOf(verdict: Verdict): string[] {
  const { repeats: _, ...faults } = verdict;
  return Object.entries(faults).flatMap(([name, found]) =>
    found.length === 0 ? [] : [`${found.length} ${name}: ${found.slice(0, 5).join(', ')}${found.length > 5 ? ', …' : ''}`],
  );
}

/**
 * Answers of all webhooks that a server has had and not written when it ends, in the mean of many ends: what the load makes in
 * 150 ms (some 1,250 deliveries a second), of which a flush waits 20 ms and a slow disk takes the rest.
 */
export const UNWRITTEN_MEAN_MAX = 200;

/** What happened to the servers of a story. */
export type Troubles = { nodes: number; kills: number; freezes: number; databaseCrashes: number };

/**
 * Repeats that these troubles explain. A server that ends leaves what is under way, at most what each webhook has at once,
 * and what is answered and not written; one that is frozen leaves it to the other one, and a crash of the database may take
 * it from all of them. A single end may leave all that may ever be unwritten, so that no short run has less than that.
 */
export function repeatsMax({ nodes, kills, freezes, databaseCrashes }: Troubles, webhooks: number): number {
  const underWay = webhooks * CONCURRENCY_DEFAULT;
  const ends = kills + freezes + databaseCrashes * nodes;
  return ends === 0 ? 0 : Math.max(ends * (underWay + UNWRITTEN_MEAN_MAX), underWay + UNFLUSHED_MAX);
}

/** As a sentence; null when there are no more repeats than can have been in flight. */
export function excessOf(verdicts: readonly Verdict[], troubles: Troubles): string | null {
  const repeats = verdicts.reduce((sum, verdict) => sum + verdict.repeats, 0);
  const most = repeatsMax(troubles, verdicts.length);
  return repeats > most ? `${repeats} deliveries were repeated, and at most ${most} can have been in flight` : null;
}
