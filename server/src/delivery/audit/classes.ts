/** What became of one event for one endpoint: exactly one class, or something is wrong. Pure. */
import { holds, type Position } from '../lanes/position.ts';

export const CLASSES = ['delivered', 'retry', 'waiting', 'dead', 'lagging', 'inFlight', 'skipped', 'expired', 'erased'] as const;
export type Class = (typeof CLASSES)[number];

/** All that is written about a pair of event and endpoint. */
export type Traces = {
  seq: number;
  /** A successful attempt of its own (live, retry, probe), or only one of a replay. */
  delivered: 'itself' | 'replayed' | null;
  parked: 'retry' | 'waiting' | 'dead' | null;
  /** The event was erased with its user or item. */
  erased: boolean;
  /** It lies in a range that the owner skipped, or that became too old. */
  skipped: 'skipped' | 'expired' | null;
  endpointDeleted: boolean;
  /** Where the endpoint stands in the lane while it lags; null while it is live. */
  position: Position | null;
  /** Where the lane is settled for all that do not lag. */
  laneSettled: number;
};

/**
 * The classes that claim the pair: one when all is well; none when it was lost; two when it was delivered and is still
 * parked. Ranges, positions and the lane's settled position speak only for what nothing was written about by name.
 */
export function classesOf(traces: Traces): readonly Class[] {
  const { seq, delivered, position } = traces;
  // What a deleted webhook has left there says nothing any more: upkeep takes it away, step by step.
  const parked = traces.endpointDeleted ? null : traces.parked;
  if (delivered === 'itself') return parked ? ['delivered', parked] : ['delivered'];
  if (parked) return [parked];
  if (delivered === 'replayed') return ['delivered'];
  if (traces.erased) return ['erased'];
  if (traces.skipped) return [traces.skipped];
  // Who deletes a webhook gives up what it was still to get.
  if (traces.endpointDeleted) return ['skipped'];
  if (position) return seq > position.settled && !holds(position.ahead, seq) ? ['lagging'] : [];
  return seq > traces.laneSettled ? ['inFlight'] : [];
}
