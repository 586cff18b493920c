/** "Add your account": the moment an item begins, committed with its `item.created` before the bank is asked anything. */
import { HOUR_MS } from '../base/clock.ts';
import type { Credentials } from '../connectors/connector.ts';
import { appendEvents, takeTimestamps } from '../events/append.ts';
import { findItem, insertItem, replaceCredentials, wantFullRefresh } from '../items/items.ts';
import { answerChallenge, holdOpenRefresh, nextPhase, type RefreshPhase, requestRefresh } from '../items/refreshes.ts';
import { sql } from '../storage/sql.ts';
import type { Writer } from '../storage/storage.ts';
import type { RefreshServices } from './services.ts';

/** Credentials of a first connection that failed or was abandoned are erased within an hour; the erasing runs every minute. */
const CREDENTIALS_LIFETIME_MS = HOUR_MS - 5 * 60_000;

export type ConnectionServices = Pick<RefreshServices, 'storage' | 'vault' | 'counters' | 'clock' | 'onEvents'>;
export type Connected = { itemId: number; refreshId: string };

/** Takes the transaction back: `busy` where a refresh under way has other credentials in hand, and would end over these. */
class NotConnected extends Error {
  readonly why: 'busy' | 'gone';
  constructor(why: 'busy' | 'gone') {
    super(why);
    this.why = why;
  }
}

/**
 * Makes the item of a Connect session, or takes the one that the session has already: a double click, or corrected
 * credentials after a refusal, go on with the same item and make no second `item.created`. `busy` where the item is being
 * refreshed for another reason, `gone` where the session has been erased, with its item or its user: nothing is kept then.
 */
export async function connectItem(
  services: ConnectionServices,
  request: { sessionId: string; applicationId: string; userUuid: string; bankId: number; credentials: Credentials; clockOffsetMs: number },
): Promise<Connected | 'busy' | 'gone'> {
  const { storage, vault, counters, clock } = services;
  const [newItemId] = await counters.reserve('items', 1);
  const realNow = clock.now();
  const now = realNow + request.clockOffsetMs;
  const work = async (tx: Writer): Promise<Connected> => {
    const session = await tx.first<{ item_id: number | null; refresh_id: string | null }>(
      sql`select item_id, refresh_id from connect_sessions where id = ${request.sessionId}${storage.forUpdate}`,
    );
    // It goes in the transaction that erases its item.
    if (!session) throw new NotConnected('gone');
    const existing = session.item_id === null ? null : await findItem(tx, session.item_id);
    const itemId = existing?.id ?? newItemId!;
    const dataKeyId = existing?.dataKeyId ?? (await vault.createKey(tx, realNow));
    const sealed = await vault.seal(
      tx,
      dataKeyId,
      { table: 'items', column: 'credentials', id: itemId },
      JSON.stringify(request.credentials),
    );
    const expireAt = realNow + CREDENTIALS_LIFETIME_MS;
    const { applicationId, userUuid, bankId } = request;
    if (existing) await replaceCredentials(tx, itemId, sealed, expireAt, existing.connectedOnce);
    else
      await insertItem(tx, {
        id: itemId,
        applicationId,
        userUuid,
        bankId,
        dataKeyId,
        credentials: sealed,
        credentialsExpireAt: expireAt,
        createdAt: now,
      });
    const phase = existing?.connectedOnce ? 'incremental' : 'recent';
    const item = { id: itemId, applicationId, userUuid };
    const { id: refreshId, joined } = await requestRefresh(tx, { item, cause: 'connect', phase, startedAt: now, runAt: realNow });
    if (joined && session.refresh_id !== refreshId) throw new NotConnected('busy');
    await tx.run(sql`
      update connect_sessions set item_id = ${itemId}, refresh_id = ${refreshId}, step = 'sync_in_progress' where id = ${request.sessionId}`);
    if (!existing) {
      const [timestamp] = await takeTimestamps(tx, userUuid, now, 1);
      const draft = { type: 'item.created' as const, itemId, userUuid };
      await appendEvents(tx, { applicationId, refreshId, committedAt: realNow }, [{ draft, timestamp: timestamp! }]);
    }
    return { itemId, refreshId };
  };
  try {
    const connected = await storage.transaction(work);
    services.onEvents();
    return connected;
  } catch (error) {
    if (error instanceof NotConnected) return error.why;
    throw error;
  }
}

/** Why a full refresh of an item of statement files is refused. */
export const FILES_ARE_READ_ONCE = 'Statement files are read once and not kept: there is no whole history to ask for';

/**
 * A refresh of an item that exists: asked by the API, or by the user in Connect. Joins one that is open. `full`: the whole history
 * is wanted; where the open one does not ask for it, it is owed to the next.
 */
export async function refreshItem(
  services: Pick<ConnectionServices, 'storage' | 'clock'>,
  itemId: number,
  cause: 'connect' | 'api',
  { full = false }: { full?: boolean } = {},
): Promise<{ refreshId: string; joined: boolean; phase: RefreshPhase } | null> {
  const { storage, clock } = services;
  const now = clock.now();
  return storage.transaction(async (tx) => {
    await holdOpenRefresh(tx, storage, itemId);
    // Held until our commit, so that an erasure of the item comes before or after, never between.
    await tx.first(sql`select id from items where id = ${itemId}${storage.forUpdate}`);
    const item = await findItem(tx, itemId);
    if (!item) return null;
    // Read behind that, too: an advance that held the item may have moved the clock by days.
    const application = await tx.first<{ clock_offset_ms: number }>(
      sql`select clock_offset_ms from applications where id = ${item.applicationId}`,
    );
    const startedAt = now + application!.clock_offset_ms;
    // A user who waits sees what is new at once; the whole history follows.
    if (item.connectedOnce && (full || cause === 'connect')) await wantFullRefresh(tx, itemId);
    const wanted = nextPhase({ ...item, fullRefreshWanted: full || (item.fullRefreshWanted && cause !== 'connect') });
    const { id: refreshId, joined, phase } = await requestRefresh(tx, { item, cause, phase: wanted, startedAt, runAt: now });
    return { refreshId, joined, phase };
  });
}

/** The user's code, sealed on its way to the worker. False where the refresh no longer waits for one. */
export async function answerRefresh(
  services: Pick<ConnectionServices, 'storage' | 'vault' | 'clock'>,
  refreshId: string,
  itemId: number,
  code: string,
): Promise<boolean> {
  const { storage, vault, clock } = services;
  return storage.transaction(async (tx) => {
    const item = await findItem(tx, itemId);
    if (!item) return false;
    const sealed = await vault.seal(tx, item.dataKeyId, { table: 'refreshes', column: 'answer', id: refreshId }, code);
    return answerChallenge(tx, refreshId, sealed, clock.now());
  });
}
