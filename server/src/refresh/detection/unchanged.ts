/**
 * The rows that stand as they stood: one stored and one fetched row of a content, whose ids say nothing else. Nearly all rows
 * of nearly all refreshes are such, so they are settled here by position; only what is left becomes working rows.
 *
 * It decides nothing that the stages would not: S2 and S3 would make exactly these pairs.
 */
import type { Observation } from '../../connectors/connector.ts';
import { indexContents, statedDate } from './content-index.ts';
import { isUsable, type TrustLevel } from './identifiers.ts';
import type { StoredTransaction, Trust } from './types.ts';

export type Split = {
  /** Rows that the stages must look at. */
  readonly live: readonly StoredTransaction[];
  readonly dead: readonly StoredTransaction[];
  readonly fetched: readonly Observation[];
  /** Settled rows of which something beside the content may have changed. */
  readonly touched: readonly { readonly row: StoredTransaction; readonly observation: Observation; readonly byId: boolean }[];
  readonly settled: readonly StoredTransaction[];
  /** Ids that occur twice in this response. */
  readonly repeated: ReadonlySet<string>;
  readonly trust: TrustLevel;
};

const NO_IDS: ReadonlySet<string> = new Set();

/** `learn` is given what the rows of equal content teach about ids, and answers how far they are believed. */
export function splitUnchanged(
  rows: readonly StoredTransaction[],
  observations: readonly Observation[],
  learn: (evidence: Trust) => TrustLevel,
): Split {
  const dead = rows.filter(({ deletedAt }) => deletedAt !== null);
  const live = dead.length === 0 ? rows : rows.filter(({ deletedAt }) => deletedAt === null);
  const { storedCount, fetchedCount, fetchedOf } = indexContents(live, observations);
  const isSingle = (at: number) => storedCount[at] === 1 && fetchedCount[at] === 1;
  const repeated = repeatedIds(live, observations, isSingle, fetchedOf);
  const idOf = (id: string | null | undefined): string | null =>
    id !== null && id !== undefined && isUsable(id) && !(repeated.size > 0 && repeated.has(id)) ? id : null;

  let agreements = 0;
  let disagreements = 0;
  for (let at = 0; at < live.length; at += 1) {
    if (!isSingle(at)) continue;
    const before = live[at]!.providerId;
    const now = observations[fetchedOf[at]!]!.providerId;
    if (before === null || now === undefined || !isUsable(before) || idOf(now) === null) continue;
    if (before === now) agreements += 1;
    else disagreements += 1;
  }
  const trust = learn({ agreements, disagreements });

  const named = namedIds(observations);
  const isNamed = ({ providerId, aliases }: StoredTransaction) =>
    (providerId !== null && named.has(providerId)) || aliases.some((alias) => named.has(alias));
  const settledFetched = new Uint8Array(observations.length);
  const open: StoredTransaction[] = [];
  const settled: StoredTransaction[] = [];
  const touched: Split['touched'][number][] = [];
  for (let at = 0; at < live.length; at += 1) {
    const row = live[at]!;
    const observation = isSingle(at) ? observations[fetchedOf[at]!]! : null;
    if (observation === null || observation.correction !== undefined || observation.linkPendingId !== undefined) {
      open.push(row);
      continue;
    }
    const sameId = row.providerId !== null && row.providerId === observation.providerId && idOf(row.providerId) !== null;
    const silent = () => row.aliases.length === 0 && idOf(row.providerId) === null && idOf(observation.providerId) === null;
    if ((!sameId && trust !== 'unstable' && !silent()) || (named.size > 0 && (isNamed(row) || named.has(observation.providerId ?? '')))) {
      open.push(row);
      continue;
    }
    settledFetched[fetchedOf[at]!] = 1;
    settled.push(row);
    if (!standsAsItStood(row, observation)) touched.push({ row, observation, byId: sameId && trust !== 'unstable' });
  }
  const fetched = settled.length === 0 ? observations : observations.filter((_, at) => settledFetched[at] === 0);
  return { live: open, dead, fetched, touched, settled, repeated, trust };
}

/** Ids that the source names in a correction or as the pending row of a booking: those rows are for the stages. */
function namedIds(observations: readonly Observation[]): ReadonlySet<string> {
  let named: Set<string> | null = null;
  for (const { correction, linkPendingId } of observations) {
    if (correction === undefined && linkPendingId === undefined) continue;
    named ??= new Set();
    if (correction !== undefined) named.add(correction.providerId);
    if (linkPendingId !== undefined) named.add(linkPendingId);
  }
  return named ?? NO_IDS;
}

/** Rows that have the id of their stored row differ from one another in it, so only the others can repeat an id. */
function repeatedIds(
  live: readonly StoredTransaction[],
  observations: readonly Observation[],
  isSingle: (at: number) => boolean,
  fetchedOf: Int32Array,
): ReadonlySet<string> {
  const agrees = new Uint8Array(observations.length);
  let agreeing = 0;
  for (let at = 0; at < live.length; at += 1) {
    if (!isSingle(at) || live[at]!.providerId === null || live[at]!.providerId !== observations[fetchedOf[at]!]!.providerId) continue;
    agrees[fetchedOf[at]!] = 1;
    agreeing += 1;
  }
  if (agreeing === observations.length) return NO_IDS;
  const seen = new Set<string>();
  let repeated: Set<string> | null = null;
  for (let at = 0; at < observations.length; at += 1) {
    const id = observations[at]!.providerId;
    if (agrees[at] === 1 || id === undefined) continue;
    if (seen.has(id)) {
      repeated ??= new Set();
      repeated.add(id);
    } else {
      seen.add(id);
    }
  }
  if (agreeing > 0 && seen.size > 0) {
    for (let at = 0; at < observations.length; at += 1) {
      const id = observations[at]!.providerId!;
      if (agrees[at] === 0 || !seen.has(id)) continue;
      repeated ??= new Set();
      repeated.add(id);
    }
  }
  return repeated ?? NO_IDS;
}

/** Nothing to write for a row of equal content: what is stated is what is stored, and it is under no suspicion. */
function standsAsItStood(row: StoredTransaction, observation: Observation): boolean {
  const { bookingDate, transactionDate, valueDate, counterpartyName, counterpartyIban, endToEndId, balanceAfter } = observation;
  return (
    row.missing === 0 &&
    row.missingAt === null &&
    statedAs(bookingDate, row.bookingDate) &&
    statedAs(transactionDate, row.transactionDate) &&
    statedAs(valueDate, row.valueDate) &&
    row.date === statedDate(observation) &&
    row.dateSource === (bookingDate !== undefined ? 'booking' : transactionDate !== undefined ? 'transaction' : 'value') &&
    statedAs(counterpartyName, row.counterpartyName) &&
    statedAs(counterpartyIban, row.counterpartyIban) &&
    statedAs(endToEndId, row.endToEndId) &&
    (balanceAfter === undefined ||
      (row.balanceAfter !== null &&
        balanceAfter.minor === row.balanceAfter.minor &&
        balanceAfter.exponent === row.balanceAfter.exponent &&
        balanceAfter.currency === row.balanceAfter.currency))
  );
}

function statedAs(stated: string | undefined, stored: string | null): boolean {
  return stated === undefined || stated === stored;
}
