/**
 * Which lanes this node may deliver. An epoch per lane fences whoever held it before. A lease is stale when its renewal
 * counter has not moved for {@link STALE_AFTER_MS} on *our* monotonic clock: clocks of two machines are never compared.
 */
import { sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';

export const STALE_AFTER_MS = 6_000;
/** After its last renewal a node sends for this long: less than what others wait, so that a thawed process sends nothing. */
export const GOOD_FOR_MS = 5_000;

export type Lease = { lane: number; epoch: number; settled: number };
export type Renewal = { lanes: { lane: number; epoch: number; head: number }[]; configurationVersion: number | null };
type LeaseRow = { lane: number; owner: string | null; epoch: number; renewals: number };

export type Leases = {
  /** One statement: renews what is ours, and tells how far those lanes' heads are. */
  renew(): Promise<Renewal>;
  /** Takes what is free, ours from an earlier life, or stale. */
  acquire(): Promise<Lease[]>;
  /** Frees what is ours, so that another node takes over at once. */
  release(): Promise<void>;
};

/** `owner` is the node's id. `exclusive`: no other node can exist (SQLite, behind its lock file), so every lane is ours at once. */
export function createLeases(options: { storage: Storage; owner: string; exclusive: boolean; monotonicMs: () => number }): Leases {
  const { storage, owner, exclusive, monotonicMs } = options;
  const seen = new Map<number, { owner: string; renewals: number; since: number }>();

  function free(row: LeaseRow): boolean {
    if (exclusive || row.owner === null || row.owner === owner) return true;
    const before = seen.get(row.lane);
    if (before && before.owner === row.owner && before.renewals === row.renewals) return monotonicMs() - before.since >= STALE_AFTER_MS;
    seen.set(row.lane, { owner: row.owner, renewals: row.renewals, since: monotonicMs() });
    return false;
  }

  return {
    // The rows are locked in the order of lanes, as settling locks them: in the table's own order the two deadlocked.
    async renew() {
      const rows = await storage.transaction((tx) =>
        tx.all<{ lane: number; epoch: number; head: number; version: number }>(
          sql`update lane_leases set renewals = renewals + 1
              where lane in (select l.lane from lane_leases l where l.owner = ${owner} order by l.lane${storage.forUpdate})
              returning lane, epoch, (select h.head from lane_heads h where h.lane = lane_leases.lane) as head,
                (select c.version from configuration c) as version`,
        ),
      );
      return { lanes: rows, configurationVersion: rows[0]?.version ?? null };
    },

    async acquire() {
      const rows = await storage.all<LeaseRow>(sql`select lane, owner, epoch, renewals from lane_leases order by lane`);
      const candidates = rows.filter(free);
      if (candidates.length === 0) return [];
      return storage.transaction(async (tx) => {
        const taken: Lease[] = [];
        for (const { lane, epoch, renewals } of candidates) {
          const lease = await tx.first<Lease>(
            sql`update lane_leases set owner = ${owner}, epoch = epoch + 1, renewals = renewals + 1
                where lane = ${lane} and epoch = ${epoch} and renewals = ${renewals} returning lane, epoch, settled`,
          );
          if (lease) taken.push(lease);
        }
        return taken;
      });
    },

    async release() {
      await storage.transaction((tx) =>
        tx.run(
          sql`update lane_leases set owner = null
              where lane in (select l.lane from lane_leases l where l.owner = ${owner} order by l.lane${storage.forUpdate})`,
        ),
      );
    },
  };
}
