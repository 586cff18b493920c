/** Whose rules hold, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DEFAULT_BANDS } from '../../connectors/access.ts';
import { bandsFault, readBands, rulesFor, writeBands } from './rules.ts';
import { bandLists } from './testing.ts';

test('bands are read as they were written, and what cannot be used is told', () => {
  fc.assert(fc.property(bandLists, (bands) => assert.deepEqual(readBands(writeBands(bands)), bands)));
  assert.equal(bandsFault(DEFAULT_BANDS), null);
  assert.match(bandsFault([])!, /1 to 8/);
  assert.match(bandsFault([{ fromMinute: 60, toMinute: 60 }])!, /begin before they end/);
  assert.match(bandsFault([{ fromMinute: 0, toMinute: 1441 }])!, /24:00/);
  assert.match(
    bandsFault([
      { fromMinute: 0, toMinute: 120 },
      { fromMinute: 119, toMinute: 200 },
    ])!,
    /overlap/,
  );
});

test("a bank's own rules go before the application's, and files spare no bank", () => {
  const own = [{ fromMinute: 0, toMinute: 60 }];
  const applications = [{ fromMinute: 60, toMinute: 120 }];
  const bank = { unattended: true, input: 'credentials' as const };
  assert.deepEqual(rulesFor({ ...bank, access: { bands: own, callsPerDay: 2 } }, applications).bands, own);
  assert.equal(rulesFor({ ...bank, access: { callsPerDay: 2 } }, applications).callsPerDay, 2);
  assert.deepEqual(rulesFor(bank, applications).bands, applications);
  assert.deepEqual(rulesFor(bank, null).bands, DEFAULT_BANDS);
  assert.equal(rulesFor({ ...bank, input: 'files' }, null).callsPerDay, null);
});
