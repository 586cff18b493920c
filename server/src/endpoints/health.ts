/** What an owner's word does to the health of an endpoint. Its rows are decided on by `delivery`. */
import { sql } from '../storage/sql.ts';
import type { Writer } from '../storage/storage.ts';

/**
 * Its owner vouches for it, or has given it another receiver: what it did before counts no more. An outage that was told is
 * over when it has answered, and told as any other: until then its circuit is half open. The raised revision tells every node;
 * `version`, that of the configuration which says so, is by what a node knows which of its answers came before.
 */
export async function forgiveFailures(tx: Writer, endpointId: string, version: number): Promise<void> {
  await tx.run(
    sql`insert into endpoint_health (endpoint_id, revision, circuit, forgiven_version) values (${endpointId}, 1, 'closed', ${version})
        on conflict (endpoint_id) do update set revision = endpoint_health.revision + 1, forgiven_version = excluded.forgiven_version,
          failures = 0, probes = 0, probe_hours = 0, last_probe_hour = null, observed_ms = 0, next_probe_at = null,
          paused_until = null, paused_since = null,
          answered = case when endpoint_health.circuit = 'open' then 0 else endpoint_health.answered end,
          failing_since = case when endpoint_health.circuit = 'closed' then null else endpoint_health.failing_since end,
          circuit = case when endpoint_health.circuit = 'closed' then 'closed' else 'half_open' end`,
  );
}
