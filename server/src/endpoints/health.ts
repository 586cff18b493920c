/** What enabling does to the health of an endpoint. Its rows are decided on by `delivery`. */
import { sql } from '../storage/sql.ts';
import type { Writer } from '../storage/storage.ts';

/** Its owner vouches for it: what it did before counts no more. The raised revision tells every node. */
export async function forgiveFailures(tx: Writer, endpointId: string): Promise<void> {
  await tx.run(
    sql`update endpoint_health set revision = revision + 1, circuit = 'closed', failures = 0, failing_since = null, probes = 0,
          probe_hours = 0, last_probe_hour = null, observed_ms = 0, next_probe_at = null, paused_until = null, paused_since = null
        where endpoint_id = ${endpointId}`,
  );
}
