/** The rows of `endpoint_health`, changed by compare-and-set: of two writers that saw the same row, one is told to look again. */
import { sql } from '../../storage/sql.ts';
import type { Reader, Writer } from '../../storage/storage.ts';
import { type Circuit, HEALTHY, type Health } from './health.ts';

/** `revision` is 0 where there is no row yet. What was seen under a configuration older than `forgivenVersion` is forgiven. */
export type StoredHealth = { health: Health; revision: number; forgivenVersion: number };
export const UNWRITTEN: StoredHealth = { health: HEALTHY, revision: 0, forgivenVersion: 0 };

type HealthRow = {
  endpoint_id: string;
  revision: number;
  circuit: Circuit['state'];
  failures: number;
  failing_since: number | null;
  answered: number;
  last_success_at: number | null;
  last_failure_at: number | null;
  probes: number;
  probe_hours: number;
  last_probe_hour: number | null;
  observed_ms: number;
  next_probe_at: number | null;
  paused_until: number | null;
  paused_since: number | null;
  forgiven_version: number;
};

/** Of every endpoint that has a row; the others are {@link HEALTHY}. */
export async function readAllHealth(reader: Reader): Promise<Map<string, StoredHealth>> {
  const rows = await reader.all<HealthRow>(sql`select * from endpoint_health`);
  return new Map(rows.map((row) => [row.endpoint_id, fromRow(row)]));
}

export async function readHealth(reader: Reader, endpointId: string): Promise<StoredHealth> {
  const row = await reader.first<HealthRow>(sql`select * from endpoint_health where endpoint_id = ${endpointId}`);
  return row ? fromRow(row) : UNWRITTEN;
}

/** False when the row is not at `revision` any more: nothing was written, read it again. */
export async function writeHealth(tx: Writer, endpointId: string, health: Health, revision: number): Promise<boolean> {
  const { circuit, pause } = health;
  const run = circuit.state === 'closed' ? circuit.failing : circuit;
  const open = circuit.state === 'open' ? circuit : null;
  const answered = circuit.state !== 'half_open' || circuit.answered;
  const [, changed] = await Promise.all([
    // A row of another writer has a higher revision by the time that it is seen.
    revision === 0
      ? tx.run(sql`insert into endpoint_health (endpoint_id, revision, circuit) values (${endpointId}, 0, 'closed') on conflict do nothing`)
      : 0,
    tx.run(
      sql`update endpoint_health set revision = revision + 1, circuit = ${circuit.state}, failures = ${run?.failures ?? 0},
            failing_since = ${run?.since ?? null}, answered = ${answered ? 1 : 0}, last_success_at = ${health.lastSuccessAt}, last_failure_at = ${health.lastFailureAt},
            probes = ${open?.probes ?? 0}, probe_hours = ${open?.probeHours ?? 0}, last_probe_hour = ${open?.lastProbeHour ?? null},
            observed_ms = ${open?.observedMs ?? 0}, next_probe_at = ${open?.nextProbeAt ?? null}, paused_until = ${pause?.until ?? null},
            paused_since = ${pause?.since ?? null}
          where endpoint_id = ${endpointId} and revision = ${revision}`,
    ),
  ]);
  return changed === 1;
}

function fromRow(row: HealthRow): StoredHealth {
  const health: Health = {
    circuit: circuitOf(row),
    pause: row.paused_until === null ? null : { since: row.paused_since ?? row.paused_until, until: row.paused_until },
    lastSuccessAt: row.last_success_at,
    lastFailureAt: row.last_failure_at,
  };
  return { health, revision: row.revision, forgivenVersion: row.forgiven_version };
}

function circuitOf(row: HealthRow): Circuit {
  const { failures } = row;
  switch (row.circuit) {
    case 'closed':
      return { state: 'closed', failing: row.failing_since === null ? null : { failures, since: row.failing_since } };
    case 'half_open':
      return { state: 'half_open', since: row.failing_since ?? 0, failures, answered: row.answered === 1 };
    case 'open':
      return {
        state: 'open',
        failures,
        since: row.failing_since ?? 0,
        probes: row.probes,
        probeHours: row.probe_hours,
        lastProbeHour: row.last_probe_hour,
        observedMs: row.observed_ms,
        nextProbeAt: row.next_probe_at ?? 0,
      };
    default:
      return row.circuit satisfies never;
  }
}
