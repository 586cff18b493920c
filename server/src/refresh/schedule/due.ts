/** What is due becomes a refresh, or a status that changes without one, or waits. */
import type { Connector } from '../../connectors/connector.ts';
import { appendEvents, takeTimestamps } from '../../events/log.ts';
import { type Item, type ItemRow, itemFromRow } from '../../items/items.ts';
import { requestRefresh } from '../../items/refreshes.ts';
import { type Sql, sql } from '../../storage/sql.ts';
import type { Reader, Storage, Writer } from '../../storage/storage.ts';
import type { Circuit } from './circuit.ts';
import { CIRCUIT_COLUMNS, CIRCUIT_JOIN, type CircuitRow, circuitDomain, circuitFromRow, claimProbe } from './circuits.ts';
import { type AtDue, decideAtDue } from './decide.ts';
import { readBands, rulesFor } from './rules.ts';
import { readState } from './state.ts';

/** Items looked at in one transaction. */
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

/** Oldest first, of one application or of all. The index on `due_at` holds the moments alone, so a million items cost what a thousand do. */
export function dueItemsQuery(now: number, limit: number, applicationId?: string): Sql {
  const scope = applicationId === undefined ? sql`` : sql`and items.application_id = ${applicationId}`;
  return sql`
    select items.*, applications.clock_offset_ms, applications.environment, applications.refresh_bands, ${CIRCUIT_COLUMNS}
    from items join applications on applications.id = items.application_id ${CIRCUIT_JOIN}
    where items.due_at <= ${now} ${scope} order by items.due_at limit ${limit}`;
}

async function readDue(reader: Reader, now: number, applicationId?: string): Promise<DueItem[]> {
  const rows = await reader.all<DueRow>(dueItemsQuery(now, DUE_BATCH, applicationId));
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
  const decided = due.map((one) => ({ one, decision: decide(services, one, realNow) }));
  if (decided.some(({ decision }) => decision.kind !== 'become')) {
    await storage.transaction(async (tx) => {
      for (const { one, decision } of decided) if (decision.kind !== 'become') await apply(tx, one, decision, realNow);
    });
  }
  // Each in a transaction of its own: an event locks its user and its lane, and many at once would lock them in any order.
  for (const { one, decision } of decided) if (decision.kind === 'become') await become(services, one, decision, realNow);
  return due.length;
}

function decide(services: DueServices, { item, bands, circuit, clockOffsetMs }: DueItem, realNow: number): AtDue {
  const bank = services.connector(item.bankId)?.bank ?? null;
  const rules = rulesFor(bank, readBands(bands));
  const { consentExpiresAt } = item;
  const now = realNow + clockOffsetMs;
  return decideAtDue({ itemId: item.id, state: readState(item.schedule), rules, consentExpiresAt, circuit, now }, item.status);
}

/** Where another node was first, the item is due at another moment now, and nothing happens. */
async function moveDue(tx: Writer, { item, dueAt }: DueItem, next: number | null): Promise<boolean> {
  return (await tx.run(sql`update items set due_at = ${next} where id = ${item.id} and due_at = ${dueAt}`)) === 1;
}

async function apply(tx: Writer, due: DueItem, decision: Exclude<AtDue, { kind: 'become' }>, realNow: number): Promise<void> {
  const { item, clockOffsetMs, domain } = due;
  const now = realNow + clockOffsetMs;
  if (decision.kind === 'postpone') {
    await moveDue(tx, due, decision.until - clockOffsetMs);
    return;
  }
  if (decision.kind === 'probe' && !(await claimProbe(tx, { domain, bankId: item.bankId }, item.id, now))) {
    // Another item has just become the probe: this one is looked at again at once, and finds the bank suspended.
    await moveDue(tx, due, due.dueAt + 1);
    return;
  }
  if (!(await moveDue(tx, due, realNow + UNDER_WAY_MS))) return;
  const phase = !item.connectedOnce ? 'recent' : item.fullRefreshWanted ? 'full' : 'incremental';
  await requestRefresh(tx, { item, cause: 'scheduler', phase, startedAt: now, runAt: realNow });
}

/** A status that changes without a refresh: one `item.refreshed` at the transition, unless a refresh is under way, whose end will say. */
async function become(services: DueServices, due: DueItem, decision: Extract<AtDue, { kind: 'become' }>, realNow: number): Promise<void> {
  const { item, clockOffsetMs } = due;
  const { id: itemId, userUuid, applicationId } = item;
  const { status, info } = decision;
  const changed = await services.storage.transaction(async (tx) => {
    const open = await tx.first(sql`select id from refreshes where item_id = ${itemId} and finished_at is null`);
    if (open) {
      await moveDue(tx, due, realNow + UNDER_WAY_MS);
      return false;
    }
    const [timestamp] = await takeTimestamps(tx, userUuid, realNow + clockOffsetMs, 1);
    if (!(await moveDue(tx, due, decision.until === null ? null : decision.until - clockOffsetMs))) return false;
    await tx.run(sql`update items set status = ${status}, status_code_info = ${info} where id = ${itemId}`);
    const draft = { type: 'item.refreshed' as const, itemId, userUuid, fullRefresh: false, statusCode: status, statusCodeInfo: info };
    await appendEvents(tx, { applicationId, refreshId: null, committedAt: realNow }, [{ draft, timestamp: timestamp! }]);
    return true;
  });
  if (changed) services.onEvents();
}
