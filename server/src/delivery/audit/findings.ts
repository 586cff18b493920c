/**
 * What the last looks at every segment of the log have found. Each hour is looked at again and again as long as it is kept: what was
 * in its place yesterday can be lost today.
 */
import { readSegments } from '../../events/segments.ts';
import { sql } from '../../storage/sql.ts';
import type { Reader, Storage } from '../../storage/storage.ts';
import { type AuditedHour, auditSegment, type Turn } from './audit.ts';

/** Of one webhook. `frozenHours` did not balance when retention took them. */
export type Finding = { unbalancedHours: number; faults: number; frozenHours: number };

export type Findings = {
  /** By webhook: of each that matched anything in what was looked at, and of each that has frozen hours. */
  readonly byEndpoint: ReadonlyMap<string, Finding>;
  /** Looks at the whole log once, from its oldest segment on. False when `turn` stopped it; `seen` is called after each segment. */
  look(turn: Turn, seen: () => void): Promise<boolean>;
};

export function createFindings(storage: Storage): Findings {
  const bySegment = new Map<number, readonly AuditedHour[]>();
  let frozen: ReadonlyMap<string, number> = new Map();

  /** Those that are kept, with their ends, oldest first. */
  async function retained() {
    const segments = await readSegments(storage);
    const heads = await storage.all<{ head: number }>(sql`select head from lane_heads order by lane`);
    return segments
      .map((segment, at) => ({ segment, ends: segments[at + 1]?.starts ?? heads.map(({ head }) => head) }))
      .filter(({ segment }) => segment.frozenAt === null);
  }

  return {
    get byEndpoint() {
      return summed([...bySegment.values()].flat(), frozen);
    },
    async look(turn, seen) {
      for (const { segment, ends } of await retained()) {
        const hours = await auditSegment(storage, segment, ends, turn);
        if (!hours) return false;
        // What retention took while it was read looks lost: its hours are frozen now.
        const kept = new Set((await retained()).map(({ segment: { segment: number } }) => number));
        bySegment.set(segment.segment, hours);
        for (const number of bySegment.keys()) if (!kept.has(number)) bySegment.delete(number);
        frozen = await frozenUnbalanced(storage);
        seen();
      }
      return true;
    },
  };
}

function summed(hours: readonly AuditedHour[], frozen: ReadonlyMap<string, number>): Map<string, Finding> {
  const found = new Map<string, Finding>();
  for (const [endpointId, mine] of Map.groupBy(hours, (hour) => hour.endpointId)) {
    const wrong = mine.filter((hour) => hour.faults > 0);
    const faults = wrong.reduce((sum, hour) => sum + hour.faults, 0);
    // An hour may have begun in the segment before.
    found.set(endpointId, { unbalancedHours: new Set(wrong.map(({ hour }) => hour)).size, faults, frozenHours: 0 });
  }
  for (const [endpointId, frozenHours] of frozen)
    found.set(endpointId, { ...(found.get(endpointId) ?? { unbalancedHours: 0, faults: 0 }), frozenHours });
  return found;
}

async function frozenUnbalanced(reader: Reader): Promise<Map<string, number>> {
  const rows = await reader.all<{ endpoint_id: string; hours: number }>(
    sql`select endpoint_id, count(*) as hours from audited_hours
        where matched <> delivered + dead + skipped + expired + erased group by endpoint_id`,
  );
  return new Map(rows.map(({ endpoint_id, hours }) => [endpoint_id, Number(hours)]));
}
