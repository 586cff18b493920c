/** How an endpoint fares and what it has still to get: why nothing arrives, for the operator who asks. */
import { attemptKinds, isDelivered, newestOfKinds } from '../../endpoints/attempt-kinds.ts';
import type { Reader } from '../../storage/storage.ts';
import { readHealth } from '../channels/health-store.ts';
import { type Backlog, readBacklog } from './backlog.ts';

/** Times are epoch milliseconds of the real clock. */
export type Condition = {
  circuit: 'closed' | 'open' | 'half_open';
  /** Of a half-open circuit: it has answered since; false where so far only its owner says that it is well. */
  answered: boolean;
  failuresInARow: number;
  failingSince: number | null;
  /** While the circuit is open. */
  nextProbeAt: number | null;
  /** What the receiver asked for; null once it is over. */
  pausedUntil: number | null;
  lastSuccessAt: number | null;
  lastFailureAt: number | null;
  backlog: Backlog;
};

export async function readCondition(reader: Reader, endpoint: { id: string; applicationId: string }, now: number): Promise<Condition> {
  // One by one: SQLite would answer them all in the same turn of the event loop.
  const { health } = await readHealth(reader, endpoint.id);
  const backlog = await readBacklog(reader, endpoint);
  const succeededAt = await readLastSuccess(reader, endpoint.id);
  const { circuit, pause, lastSuccessAt, lastFailureAt } = health;
  const run = circuit.state === 'closed' ? circuit.failing : circuit;
  return {
    circuit: circuit.state,
    answered: circuit.state === 'half_open' && circuit.answered,
    failuresInARow: run?.failures ?? 0,
    failingSince: run?.since ?? null,
    nextProbeAt: circuit.state === 'open' ? circuit.nextProbeAt : null,
    pausedUntil: pause !== null && pause.until > now ? pause.until : null,
    // Successes of a healthy endpoint come by the ten thousand a second, and none of them writes the row of its health.
    lastSuccessAt: succeededAt === null || lastSuccessAt === null ? (succeededAt ?? lastSuccessAt) : Math.max(succeededAt, lastSuccessAt),
    lastFailureAt,
    backlog,
  };
}

async function readLastSuccess(reader: Reader, endpointId: string): Promise<number | null> {
  return newestOfKinds(reader, (await attemptKinds(reader, [endpointId])).filter(isDelivered));
}
