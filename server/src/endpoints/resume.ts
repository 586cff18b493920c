/** Enabling a webhook again: its owner says from where. */
import { sql } from '../storage/sql.ts';
import type { Storage } from '../storage/storage.ts';
import { raiseConfiguration } from './endpoints.ts';
import { forgiveFailures } from './health.ts';

/** `stopped`: all that happened meanwhile is sent. `now`: nothing of it, and nothing that waits for another attempt. */
export type ResumeFrom = 'stopped' | 'now';

/**
 * Only records the wish: where an endpoint stands in a lane is moved by the node that leases the lane, when it sees the
 * raised version of the configuration, so that this is safe beside any number of servers and without one. What is
 * committed before this transaction reads the heads counts as before. False when there is no such endpoint.
 */
export async function enableEndpoint({ storage, now }: { storage: Storage; now: number }, id: string, from: ResumeFrom): Promise<boolean> {
  return storage.transaction(async (tx) => {
    const changed = await tx.run(
      sql`update endpoints set enabled = 1, disabled_reason = null, disabled_at = null, updated_at = ${now} where id = ${id} and deleted_at is null`,
    );
    if (changed === 0) return false;
    if (from === 'now') {
      const heads = await tx.all<{ head: number }>(sql`select head from lane_heads order by lane`);
      await tx.run(sql`update endpoints set skip_through = ${JSON.stringify(heads.map(({ head }) => head))} where id = ${id}`);
    }
    await forgiveFailures(tx, id, await raiseConfiguration(tx));
    return true;
  });
}
