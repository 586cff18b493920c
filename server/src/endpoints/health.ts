/** What an owner's word does to the health of an endpoint. Its rows are decided on by `delivery`. */
import { sql } from '../storage/sql.ts';
import type { Writer } from '../storage/storage.ts';

/**
 * Its owner vouches for it, or has given it another receiver: what it did before counts no more. An outage that was told is
 * over when it has answered, and told as any other: until then its circuit is half open. The raised revision tells every node.
 */
export async function forgiveFailures(tx: Writer, endpointId: string): Promise<void> {
  await tx.run(
    sql`update endpoint_health set revision = revision + 1, failures = 0, probes = 0, probe_hours = 0, last_probe_hour = null,
          observed_ms = 0, next_probe_at = null, paused_until = null, paused_since = null,
          answered = case when circuit = 'open' then 0 else answered end,
          failing_since = case when circuit = 'closed' then null else failing_since end,
          circuit = case when circuit = 'closed' then 'closed' else 'half_open' end
        where endpoint_id = ${endpointId}`,
  );
}
