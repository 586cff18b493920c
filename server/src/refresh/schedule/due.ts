/** What is due becomes a refresh, or a status that changes without one, or waits. */
import type { Connector } from '../../connectors/connector.ts';
import { appendEvents, takeTimestamps } from '../../events/append.ts';
import { type Item, type ItemRow, itemFromRow } from '../../items/items.ts';
import { nextPhase, type RefreshRequest, requestRefreshes } from '../../items/refreshes.ts';
import { type Sql, sql, sqlTable } from '../../storage/sql.ts';
import type { Reader, Storage, Writer } from '../../storage/storage.ts';
import type { Circuit } from './circuit.ts';
import { CIRCUIT_COLUMNS, CIRCUIT_JOIN, type CircuitRow, circuitDomain, circuitFromRow, claimProbe } from './circuits.ts';
import { type AtDue, decideAtDue } from './decide.ts';
import { readBands, rulesFor } from './rules.ts';
import { readStateOrNothing } from './state.ts';

/** Items looked at in one transaction, as {@link dueItemsQuery} says. */
export const DUE_BATCH = 100;
/** Where a refresh is under way, or has just been asked for, its end says when the item is due again; this is for the one that never ends. */
const UNDER_WAY_MS = 12 * 3_600_000;

export type DueServices = {
  storage: Storage;
  clock: { now(): number };
  connector: (bankId: number) => Connector | null;
  onEvents: () => void;
};

type DueItem = { item: Item; dueAt: number; clockOffsetMs: number; domain: string; bands: string | null; circuit: Circuit | null };
type DueRow = ItemRow & CircuitRow & { due_at: number; clock_offset_ms: number; environment: string; refresh_bands: string | null };

/**
 * One batch, oldest first, of one application or of all. The index on `due_at` holds the moments alone, so a million items cost
 * what a thousand do. The moment stands in a query of its own: with a number to look at, PostgreSQL plans anew for it each time,
 * which among many items took as long as finding the due ones. The limit ({@link DUE_BATCH}) is part of the text: one that
 * PostgreSQL cannot see may be a tenth of a million, and it starts other processes to help.
 */
export function dueItemsQuery(now: number, applicationId?: string): Sql {
  const scope = applicationId === undefined ? sql`` : sql`and items.application_id = ${applicationId}`;
  return sql`
    select items.*, applications.clock_offset_ms, applications.environment, applications.refresh_bands, ${CIRCUIT_COLUMNS}
    from items join applications on applications.id = items.application_id ${CIRCUIT_JOIN}
    where items.due_at <= (select cast(${now} as bigint)) ${scope} order by items.due_at limit 100`;
}

async function readDue(reader: Reader, now: number, applicationId?: string): Promise<DueItem[]> {
  const rows = await reader.all<DueRow>(dueItemsQuery(now, applicationId));
  return rows.map((row) => ({
    item: itemFromRow(row),
    dueAt: row.due_at,
    clockOffsetMs: row.clock_offset_ms,
    domain: circuitDomain(row.environment, row.application_id),
    bands: row.refresh_bands,
    circuit: circuitFromRow(row),
  }));
}

/** Handles one batch of items whose moment has come; answers how many, so that a full batch is followed by the next. */
export async function requestDue(services: DueServices, applicationId?: string): Promise<number> {
  const { storage, clock } = services;
  const realNow = clock.now();
  const due = await readDue(storage, realNow, applicationId);
  if (due.length === 0) return 0;
  const { becoming, others } = decideAll(services, due, realNow);
  if (others.length > 0) await storage.transaction((tx) => apply(tx, others, realNow));
  // Each in a transaction of its own: an event locks its user and its lane, and many at once would lock them in any order.
  for (const { one, decision } of becoming) await become(services, one, decision, realNow);
  return due.length;
}

/** The same among the statements of `tx`, but for items whose status changes without a refresh: they stay due, for {@link requestDue}. */
export async function requestDueWithin(tx: Writer, services: DueServices, applicationId: string): Promise<void> {
  const realNow = services.clock.now();
  const { others } = decideAll(services, await readDue(tx, realNow, applicationId), realNow);
  if (others.length > 0) await apply(tx, others, realNow);
}

type Sorted = { becoming: Decided<Become>[]; others: Decided<Exclude<AtDue, Become>>[] };

function decideAll(services: DueServices, due: readonly DueItem[], realNow: number): Sorted {
  const sorted: Sorted = { becoming: [], others: [] };
  for (const one of due) {
    const decision = decideDue(services, one, realNow);
    if (decision.kind === 'become') sorted.becoming.push({ one, decision });
    else sorted.others.push({ one, decision });
  }
  return sorted;
}

/** What is decided of an item whose moment has come. */
export function decideDue(
  services: Pick<DueServices, 'connector'>,
  { item, bands, circuit, clockOffsetMs }: Omit<DueItem, 'dueAt' | 'domain'>,
  realNow: number,
): AtDue {
  const bank = services.connector(item.bankId)?.bank ?? null;
  const rules = rulesFor(bank, readBands(bands));
  const { consentExpiresAt } = item;
  const now = realNow + clockOffsetMs;
  // One that cannot be read must not keep the others waiting: its refresh says so.
  const state = readStateOrNothing(item.schedule);
  return decideAtDue({ itemId: item.id, state, rules, consentExpiresAt, circuit, now }, item.status);
}

type Become = Extract<AtDue, { kind: 'become' }>;
type Decided<Decision extends AtDue> = { one: DueItem; decision: Decision };
type Move = { one: DueItem; next: number | null };

const movesTable = sqlTable({ item_id: 'bigint', was_due_at: 'bigint', next_due_at: 'bigint' });

/** Answers which items have moved: where another node was first, an item is due at another moment now, and nothing happens. */
async function moveDue(tx: Writer, moves: readonly Move[]): Promise<ReadonlySet<number>> {
  const table = movesTable(moves.map(({ one: { item, dueAt }, next }) => ({ item_id: item.id, was_due_at: dueAt, next_due_at: next })));
  const rows = await tx.all<{ id: number }>(sql`
    update items set due_at = next_due_at from ${table} as moves where id = item_id and due_at = was_due_at returning id`);
  return new Set(rows.map(({ id }) => id));
}

/** Asks for the refreshes of one batch of items, and moves the others on: two statements, whatever the number. */
async function apply(tx: Writer, decided: readonly Decided<Exclude<AtDue, Become>>[], realNow: number): Promise<void> {
  const moves: Move[] = [];
  const asked: DueItem[] = [];
  for (const { one, decision } of decided) {
    const { item, clockOffsetMs, domain } = one;
    if (decision.kind === 'postpone') {
      moves.push({ one, next: decision.until === null ? null : decision.until - clockOffsetMs });
      continue;
    }
    const asks = decision.kind === 'refresh' || (await claimProbe(tx, { domain, bankId: item.bankId }, item.id, realNow + clockOffsetMs));
    // Where another item has just become the probe, this one is looked at again at once, and finds the bank suspended.
    moves.push({ one, next: asks ? realNow + UNDER_WAY_MS : one.dueAt + 1 });
    if (asks) asked.push(one);
  }
  const moved = await moveDue(tx, moves);
  const requests = asked
    .filter(({ item }) => moved.has(item.id))
    .map(({ item, clockOffsetMs }): RefreshRequest => {
      return { item, cause: 'scheduler', phase: nextPhase(item), startedAt: realNow + clockOffsetMs, runAt: realNow };
    });
  await requestRefreshes(tx, requests);
}

/** A status that changes without a refresh: one `item.refreshed` at the transition, unless a refresh is under way, whose end will say. */
async function become(services: DueServices, due: DueItem, decision: Become, realNow: number): Promise<void> {
  const { item, clockOffsetMs } = due;
  const { id: itemId, userUuid, applicationId } = item;
  const { status, info } = decision;
  const changed = await services.storage.transaction(async (tx) => {
    const open = await tx.first(sql`select id from refreshes where item_id = ${itemId} and finished_at is null`);
    if (open) {
      await moveDue(tx, [{ one: due, next: realNow + UNDER_WAY_MS }]);
      return false;
    }
    const [timestamp] = await takeTimestamps(tx, userUuid, realNow + clockOffsetMs, 1);
    const next = decision.until === null ? null : decision.until - clockOffsetMs;
    if (!(await moveDue(tx, [{ one: due, next }])).has(itemId)) return false;
    await tx.run(sql`update items set status = ${status}, status_code_info = ${info} where id = ${itemId}`);
    const draft = { type: 'item.refreshed' as const, itemId, userUuid, fullRefresh: false, statusCode: status, statusCodeInfo: info };
    await appendEvents(tx, { applicationId, refreshId: null, committedAt: realNow }, [{ draft, timestamp: timestamp! }]);
    return true;
  });
  if (changed) services.onEvents();
}
