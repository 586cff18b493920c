/** Which endpoints an event belongs to. Pure. */
import type { DeliverableEndpoint } from '../../endpoints/endpoints.ts';
import type { LoggedEvent } from '../../events/log.ts';

type Version = { events: ReadonlySet<string>; from: readonly number[] };
type Candidate = { id: string; versions: readonly Version[] };
export type Matcher = (event: LoggedEvent) => readonly string[];

const NONE: readonly string[] = [];

/**
 * Ids of endpoints, of the event's application only, whose filter in force at the event's seq has its type. Operational
 * kinds go only to filters that name them, and never to the endpoint that they tell of: its own troubles would make more.
 */
export function createMatcher(endpoints: readonly DeliverableEndpoint[]): Matcher {
  const byApplication = new Map<string, Candidate[]>();
  for (const endpoint of endpoints) {
    const newestFirst = endpoint.versions.map(({ events, from }) => ({ events: new Set(events), from })).reverse();
    const candidates = byApplication.get(endpoint.applicationId) ?? [];
    candidates.push({ id: endpoint.id, versions: newestFirst });
    byApplication.set(endpoint.applicationId, candidates);
  }
  return (event) => {
    const candidates = byApplication.get(event.applicationId);
    // Of an erased event only its place is left.
    if (!candidates || event.erased) return NONE;
    // A test event has one addressee, whatever it subscribes to.
    if (event.endpointId !== null) return candidates.some(({ id }) => id === event.endpointId) ? [event.endpointId] : NONE;
    return candidates
      .filter((candidate) => candidate.id !== event.aboutEndpointId && inForce(candidate.versions, event)?.events.has(event.type))
      .map(({ id }) => id);
  };
}

/** The version that held when the event was written, of versions that are newest first. */
export function inForce<V extends { from: readonly number[] }>(versions: readonly V[], { lane, seq }: LoggedEvent): V | undefined {
  return versions.find(({ from }) => seq > (from[lane] ?? Number.POSITIVE_INFINITY));
}
