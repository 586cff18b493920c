/**
 * Conservation: every event that an endpoint matched is delivered, waits somewhere, or was given up, and in one way
 * only. Matched is worked out anew from the log and the endpoint versions, never counted on the way. Runs beside a
 * server: in small pages, and without a lock.
 */
import { HOUR_MS } from '../../base/clock.ts';
import { eventId, LANES } from '../../events/log.ts';
import { readSegments, type Segment, segmentBounds } from '../../events/segments.ts';
import { sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { CLASSES, type Class, classesOf } from './classes.ts';
import { type AuditedEvent, type Membership, membersOf, readMembership } from './membership.ts';
import { readStanding, tracesOf } from './standing.ts';
import { narrowed, type Stretch } from './stretch.ts';

/** Events of one page: with ten endpoints for each, about 5 ms of the main thread on SQLite. */
const PAGE_EVENTS = 200;
/** Pairs that are named; more are only counted. */
const FAULTS_NAMED = 100;
/** A pair that moves while a page is read can look wrong once, but not in a second reading: it moves one way. */
const READINGS = 3;

/**
 * `hour` is that of `committed_at`: epoch milliseconds / 3,600,000, rounded down. `faults` are deliveries in no class, or in two;
 * of a frozen hour what its sums lack.
 */
export type AuditedHour = { applicationId: string; endpointId: string; hour: number; matched: number; faults: number } & Record<
  Class,
  number
>;
/** `classes` is empty when the pair is in none, and has two when it is in two. */
export type Fault = { eventId: string; endpointId: string; classes: readonly Class[] };
export type Audit = {
  /** By endpoint, then by hour. */
  hours: AuditedHour[];
  /** At most 100; `faultCount` has them all. */
  faults: Fault[];
  faultCount: number;
  /** Hours of segments that retention has taken and that did not balance then. */
  unbalancedHours: AuditedHour[];
  balanced: boolean;
};

/** `from` and `until` (exclusive) are of `committed_at`, epoch milliseconds. */
export type AuditRange = { from: number; until?: number; applicationId?: string | null };

/** Between two pages: the embedded database answers at once, and requests and deliveries must have their turn. False stops. */
export type Turn = () => Promise<boolean>;
const nextTurn: Turn = async () => {
  await new Promise(setImmediate);
  return true;
};

/** The whole range: what is in the log, and the frozen hours of what retention has taken. */
export async function audit(storage: Storage, range: AuditRange): Promise<Audit> {
  return (await auditByTurns(storage, range, nextTurn))!;
}

/** As {@link audit}; null when `turn` stopped it. */
export async function auditByTurns(storage: Storage, range: AuditRange, turn: Turn): Promise<Audit | null> {
  for (;;) {
    const unfrozen = async () => (await readSegments(storage)).filter(({ frozenAt }) => frozenAt === null);
    const segments = await unfrozen();
    const found = await auditOnce(storage, segments, range, turn);
    if (!found) return null;
    // What retention took while it was read looks lost: its hours are frozen now, and count as they were.
    if (found.balanced || (await unfrozen())[0]?.segment === segments[0]?.segment) return found;
  }
}

async function auditOnce(storage: Storage, segments: readonly Segment[], range: AuditRange, turn: Turn): Promise<Audit | null> {
  const first = segments.find(({ closedAt }) => closedAt === null || closedAt >= range.from);
  const heads = await storage.all<{ head: number }>(sql`select head from lane_heads order by lane`);
  const tally = createTally();
  await addFrozen(storage, range, tally);
  const ends = heads.map(({ head }) => head);
  const whole = await walk(storage, { starts: first?.starts ?? [], ends }, range, { tally, turn });
  return whole ? tally.result() : null;
}

/** One segment to its end, before retention takes it. Null when `turn` stopped it. */
export async function auditSegment(
  storage: Storage,
  { starts }: Segment,
  ends: readonly number[],
  turn: Turn,
): Promise<AuditedHour[] | null> {
  const tally = createTally();
  const whole = await walk(storage, { starts, ends }, { from: 0 }, { tally, turn });
  return whole ? tally.result().hours : null;
}

/** `ends` are read before the versions: what commits later is met by a later audit. False when it was stopped. */
async function walk(
  storage: Storage,
  stretch: Stretch,
  range: AuditRange,
  { tally, turn }: { tally: Tally; turn: Turn },
): Promise<boolean> {
  const membership = await readMembership(storage);
  const until = range.until ?? Number.POSITIVE_INFINITY;
  for (let lane = 0; lane < LANES; lane += 1) {
    const { after: start, through } = await narrowed(storage, stretch, lane, { from: range.from, until });
    for (let after = start; after < through; ) {
      const page = await readPage(storage, { lane, after, through }, range.applicationId ?? null);
      const last = page.length < PAGE_EVENTS ? through : page.at(-1)!.seq;
      const inRange = page.filter(({ committed_at }) => committed_at >= range.from && committed_at < until);
      await auditPage(storage, membership, inRange, { lane, after, through: last }, tally);
      after = last;
      if (!(await turn())) return false;
    }
  }
  return true;
}

export type Place = { lane: number; after: number; through: number };

async function readPage(storage: Storage, { lane, after, through }: Place, applicationId: string | null): Promise<AuditedEvent[]> {
  const bounds = await segmentBounds(storage, lane, after, through);
  return storage.all<AuditedEvent>(
    applicationId === null
      ? sql`select lane, seq, application_id, type, endpoint_id, about_endpoint_id, erased, item_id, committed_at from events
            where segment between ${bounds.from} and ${bounds.through} and lane = ${lane} and seq > ${after} and seq <= ${through}
            order by seq limit ${PAGE_EVENTS}`
      : sql`select lane, seq, application_id, type, endpoint_id, about_endpoint_id, erased, item_id, committed_at from events
            where segment between ${bounds.from} and ${bounds.through} and application_id = ${applicationId} and lane = ${lane}
              and seq > ${after} and seq <= ${through} order by seq limit ${PAGE_EVENTS}`,
  );
}

type Pair = { event: AuditedEvent; endpointId: string; classes: readonly Class[] };

async function auditPage(
  storage: Storage,
  membership: Membership,
  events: readonly AuditedEvent[],
  place: Place,
  tally: Tally,
): Promise<void> {
  let pairs: Pair[] = [];
  for (let reading = 1; reading <= READINGS; reading += 1) {
    // A webhook may have been deleted since; its older versions say what they said before.
    const members = reading === 1 ? membership : await readMembership(storage);
    const targets = events.flatMap((event) => membersOf(members, event).map((member) => ({ event, member })));
    if (targets.length === 0) return;
    const standing = await readStanding(storage, place);
    pairs = targets.map(({ event, member }) => ({ event, endpointId: member.id, classes: classesOf(tracesOf(standing, event, member)) }));
    if (pairs.every(({ classes }) => classes.length === 1)) break;
  }
  for (const pair of pairs) tally.add(pair);
}

type Tally = { add(pair: Pair): void; addFrozen(hour: AuditedHour): void; result(): Audit };

function createTally(): Tally {
  const hours = new Map<string, AuditedHour>();
  const unbalancedHours: AuditedHour[] = [];
  const faults: Fault[] = [];
  let faultCount = 0;

  function hourOf(applicationId: string, endpointId: string, hour: number): AuditedHour {
    const key = `${endpointId}/${hour}`;
    let found = hours.get(key);
    if (!found) {
      const none = Object.fromEntries(CLASSES.map((name) => [name, 0])) as Record<Class, number>;
      found = { applicationId, endpointId, hour, matched: 0, faults: 0, ...none };
      hours.set(key, found);
    }
    return found;
  }

  return {
    add({ event, endpointId, classes }) {
      const counts = hourOf(event.application_id, endpointId, Math.floor(event.committed_at / HOUR_MS));
      counts.matched += 1;
      for (const name of classes) counts[name] += 1;
      if (classes.length === 1) return;
      counts.faults += 1;
      faultCount += 1;
      if (faults.length < FAULTS_NAMED) faults.push({ eventId: eventId(event.lane, event.seq), endpointId, classes });
    },
    addFrozen(frozen) {
      const counts = hourOf(frozen.applicationId, frozen.endpointId, frozen.hour);
      counts.matched += frozen.matched;
      counts.faults += frozen.faults;
      for (const name of CLASSES) counts[name] += frozen[name];
      if (!balances(frozen)) unbalancedHours.push(frozen);
    },
    result: () => ({
      hours: [...hours.values()].sort((a, b) => (a.endpointId === b.endpointId ? a.hour - b.hour : a.endpointId < b.endpointId ? -1 : 1)),
      faults,
      faultCount,
      unbalancedHours,
      balanced: faultCount === 0 && unbalancedHours.length === 0,
    }),
  };
}

export function balances(hour: AuditedHour): boolean {
  return hour.matched === CLASSES.reduce((sum, name) => sum + hour[name], 0);
}

type FrozenRow = { application_id: string; endpoint_id: string; hour: number; matched: number } & Record<
  'delivered' | 'dead' | 'skipped' | 'expired' | 'erased',
  number
>;

async function addFrozen(storage: Storage, { from, until, applicationId = null }: AuditRange, tally: Tally): Promise<void> {
  const last = until === undefined ? Number.MAX_SAFE_INTEGER : Math.ceil(until / HOUR_MS) - 1;
  const rows = await storage.all<FrozenRow>(
    sql`select e.application_id, h.endpoint_id, h.hour, h.matched, h.delivered, h.dead, h.skipped, h.expired, h.erased
        from audited_hours h join endpoints e on e.id = h.endpoint_id where h.hour between ${Math.floor(from / HOUR_MS)} and ${last}`,
  );
  for (const { application_id, endpoint_id, ...counts } of rows) {
    if (applicationId !== null && application_id !== applicationId) continue;
    const { matched, delivered, dead, skipped, expired, erased } = counts;
    const faults = Math.abs(matched - (delivered + dead + skipped + expired + erased));
    const open = { retry: 0, waiting: 0, lagging: 0, inFlight: 0 };
    tally.addFrozen({ ...counts, ...open, applicationId: application_id, endpointId: endpoint_id, faults });
  }
}
