/**
 * The number that lets a receiver see a gap: how many events of the kinds it subscribes to its item has had, up to and
 * with this one. It grows by one from one event of an item to the next. Pure.
 */
import type { EndpointVersion } from '../../endpoints/endpoints.ts';
import { EVENT_TYPES } from '../../events/catalogue.ts';
import type { LoggedEvent } from '../../events/log.ts';
import { inForce } from '../lanes/matching.ts';

export type Sequencer = (event: LoggedEvent) => number | null;

/** `versions` ascend. Null for events that have no item, and for those that no version covers. */
export function createSequencer(versions: readonly EndpointVersion[]): Sequencer {
  const newestFirst = versions.map(({ events, from }) => ({ from, counted: EVENT_TYPES.map((type) => events.includes(type)) })).reverse();
  return (event) => {
    const { sequences } = event;
    if (sequences === null) return null;
    const version = inForce(newestFirst, event);
    if (!version) return null;
    let sum = 0;
    for (let kind = 0; kind < version.counted.length; kind += 1) if (version.counted[kind]) sum += sequences[kind] ?? 0;
    return sum;
  };
}
