/** Who delivers which lanes: decisions of one node, from what its heartbeat has told it. Pure. */

/** A node that beats every 1.2 s and was not seen to beat for this long is dead, or must believe that others think so. */
export const STALE_AFTER_MS = 6_000;
/** After its last renewal a node sends for this long: less than what others wait, so that a thawed process sends nothing. */
export const GOOD_FOR_MS = 5_000;
/** A silence of more than one beat: worth a look whether the session of the node has ended. */
export const SUSPECT_AFTER_MS = 1_500;

export type Node = { id: string; life: string; beats: number; present: boolean };
export type LaneState = { lane: number; epoch: number; head: number; owner: string | null };

/** What was seen of other nodes, on our own monotonic clock: clocks of two machines are never compared. */
export type Sightings = ReadonlyMap<string, { life: string; beats: number; since: number }>;

export function look(before: Sightings, nodes: readonly Node[], now: number): Sightings {
  return new Map(
    nodes.map(({ id, life, beats }) => {
      const seen = before.get(id);
      return [id, seen && seen.life === life && seen.beats === beats ? seen : { life, beats, since: now }];
    }),
  );
}

/** `stale`: dead by its silence. `suspect`: dead if its session has ended. */
export type Silence = 'heard' | 'suspect' | 'stale';

export function silenceOf({ id, present }: Node, sightings: Sightings, now: number): Silence {
  const silentMs = now - (sightings.get(id)?.since ?? now);
  if (silentMs >= STALE_AFTER_MS) return 'stale';
  return present && silentMs >= SUSPECT_AFTER_MS ? 'suspect' : 'heard';
}

/** Lanes that each of so many nodes may have: with all of them taken, nobody has two more than another by right. */
export function shareOf(nodes: number, lanes: number): number {
  return Math.ceil(lanes / Math.max(1, nodes));
}

export type Plan = {
  /** Free lanes to take. */
  take: number[];
  /** Ours, to hand over. */
  give: number[];
};

/**
 * What `owner` does about its share. Each node begins at a place of its own, so that two that join together do not reach
 * for the same lanes.
 */
export function planLanes(owner: string, nodes: readonly { id: string }[], lanes: readonly LaneState[]): Plan {
  const ids = nodes.map(({ id }) => id).sort();
  const share = shareOf(ids.length, lanes.length);
  const ours = lanes.filter((lane) => lane.owner === owner).map(({ lane }) => lane);
  const free = lanes.filter((lane) => lane.owner === null).map(({ lane }) => lane);
  if (ours.length >= share) return { take: [], give: ours.slice(share) };
  const start = (Math.max(0, ids.indexOf(owner)) * share) % lanes.length;
  const first = free.findIndex((lane) => lane >= start);
  const turned = first === -1 ? free : [...free.slice(first), ...free.slice(0, first)];
  return { take: turned.slice(0, share - ours.length), give: [] };
}
