import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../base/clock.ts';
import { openNextSegment } from '../../events/segments.ts';
import { type Sql, sql } from '../../storage/sql.ts';
import type { Storage } from '../../storage/storage.ts';
import { makePartitions } from '../../upkeep/partitions.ts';
import { append, createApplication, deliver, endpoint, everything, park, settleAll } from '../../upkeep/testing.ts';
import { audit } from './audit.ts';
import { createFindings } from './findings.ts';
import { HALVED_MIN } from './stretch.ts';

const NOW = 1_700_000_000_000 - (1_700_000_000_000 % HOUR_MS);
const write = (storage: Storage, statement: Sql) => storage.transaction((tx) => tx.run(statement));
const go = async () => true;

/** A segment for each of two days and the one that is written, all delivered to one webhook; another never matched anything. */
async function threeDays(storage: Storage): Promise<void> {
  await createApplication(storage);
  await createApplication(storage, 'app_other');
  await endpoint(storage, 'wh_one');
  await endpoint(storage, 'wh_idle', 'app_other');
  await makePartitions(storage, 1, 3);
  for (const day of [0, 1, 2]) {
    for (const hour of [0, 5]) await append(storage, [1, 2, 3], NOW + day * DAY_MS + hour * HOUR_MS);
    const next = NOW + (day + 1) * DAY_MS;
    if (day < 2) await storage.transaction((tx) => openNextSegment(tx, storage, day + 1, { openedAt: next, closedAt: next }));
  }
  await deliver(storage, await everything(storage), 'wh_one');
  await settleAll(storage);
}

eachEngine('the audit of the whole log', (open) => {
  test('finds what is lost or counted twice in any hour, however old, and sees that it is repaired', async (t) => {
    const storage = await open(t);
    await threeDays(storage);
    const findings = createFindings(storage);
    const seen: number[] = [];
    const look = async () => {
      assert.equal(await findings.look(go, () => void seen.push(1)), true);
      return findings.byEndpoint.get('wh_one');
    };
    assert.deepEqual(await look(), { unbalancedHours: 0, faults: 0, frozenHours: 0 });
    assert.deepEqual([seen.length, findings.byEndpoint.has('wh_idle')], [3, false]);

    const events = await everything(storage);
    const at = (day: number, hour: number) => events.filter(({ committedAt }) => committedAt === NOW + day * DAY_MS + hour * HOUR_MS);
    // One lost and one counted twice: the sums of that hour are as they should be.
    const [lost, twice] = at(0, 0);
    await write(storage, sql`delete from attempts where lane = ${lost!.lane} and seq = ${lost!.seq}`);
    await park(storage, twice!, 'wh_one', 'retry');
    await park(storage, at(1, 5)[0]!, 'wh_one', 'dead');
    assert.deepEqual(await look(), { unbalancedHours: 2, faults: 3, frozenHours: 0 });

    await deliver(storage, [lost!], 'wh_one');
    await write(storage, sql`delete from parked`);
    assert.deepEqual(await look(), { unbalancedHours: 0, faults: 0, frozenHours: 0 });
  });

  test('forgets the hours of a segment that retention has taken, and keeps those that were frozen unbalanced', async (t) => {
    const storage = await open(t);
    await threeDays(storage);
    const findings = createFindings(storage);
    await write(storage, sql`delete from attempts where segment = 1`);
    await findings.look(go, () => {});
    assert.equal(findings.byEndpoint.get('wh_one')?.faults, 6);
    await write(
      storage,
      sql`insert into audited_hours (endpoint_id, hour, matched, delivered, dead, skipped, expired, erased)
          values ('wh_one', 1, 3, 1, 0, 0, 0, 0), ('wh_one', 2, 3, 3, 0, 0, 0, 0), ('wh_gone', 1, 1, 0, 0, 0, 0, 0)`,
    );
    // Its rows go between this look's reading of the map and its reading of the segment.
    let turns = 0;
    const retire = async () => {
      turns += 1;
      if (turns === 1) await write(storage, sql`update segments set frozen_at = 1 where segment = 1`);
      return true;
    };
    await findings.look(retire, () => {});
    assert.deepEqual(
      [...findings.byEndpoint],
      [
        ['wh_one', { unbalancedHours: 0, faults: 0, frozenHours: 1 }],
        ['wh_gone', { unbalancedHours: 0, faults: 0, frozenHours: 1 }],
      ],
    );
  });

  test('ends where its turn says so, and keeps what it had found', async (t) => {
    const storage = await open(t);
    await threeDays(storage);
    await write(storage, sql`delete from attempts where segment = 3`);
    const findings = createFindings(storage);
    await findings.look(go, () => {});
    const turns: number[] = [];
    assert.equal(
      await findings.look(
        async () => turns.push(1) < 2,
        () => assert.fail('no segment was done'),
      ),
      false,
    );
    assert.equal(findings.byEndpoint.get('wh_one')?.faults, 6);
  });

  test('one hour of a long lane is found without reading the others, also where the clock was set back within it', async (t) => {
    const storage = await open(t);
    await createApplication(storage);
    await endpoint(storage, 'wh_one');
    const some = (length: number) => Array.from({ length }, () => 1);
    const [hours, each, many] = [60, HALVED_MIN / 2, HALVED_MIN * 2];
    const expected = new Map(Array.from({ length: hours }, (_, hour) => [hour, each]));
    const add = async (hour: number, minute: number, count: number) => {
      await append(storage, some(count), NOW + hour * HOUR_MS + minute * MINUTE_MS);
      expected.set(hour, expected.get(hour)! + count);
    };
    for (let hour = 0; hour < hours; hour += 1) {
      if (hour === 31) {
        await add(31, 5, many);
        await add(30, 20, many);
      }
      await append(storage, some(each), NOW + hour * HOUR_MS + 20 * MINUTE_MS);
    }
    const statements = async (range: { from: number; until?: number }, matched: number) => {
      const before = storage.counts.statements;
      const found = await audit(storage, range);
      assert.equal(
        found.hours.reduce((sum, hour) => sum + hour.matched, 0),
        matched,
      );
      return storage.counts.statements - before;
    };
    await statements({ from: 0 }, hours * each + 2 * many);
    for (const hour of [0, 11, 30, 31, 32, hours - 1]) {
      const from = NOW + hour * HOUR_MS;
      const asked = await statements({ from, until: from + HOUR_MS }, expected.get(hour)!);
      // Each page is a statement, and five where it has something of the hour.
      if (expected.get(hour) === each) assert.ok(asked < (hours * each) / 200, `${asked} statements for the hour ${hour}`);
    }
  });
});
