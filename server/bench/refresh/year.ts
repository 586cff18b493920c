/** A year of one item by the test clock: some 730 refreshes of the Demo Bank, worked out ahead, each with all that it writes. */
import { DAY_MS } from '../../src/base/clock.ts';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import { advanceClock } from '../../src/refresh/test-clock/test-clock.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { APPLICATION, createWorld } from '../../test/support/world.ts';
import type { Figure } from '../figures.ts';
import { type Engine, migrated } from './place.ts';

const DEMO_BANK = 574;
/** What a year may take; a part of a year has the same part of it. */
const YEAR_BELOW_S = 5;

/** `days`: 365, or fewer in short mode, where the figure says how many. The processor's time is steadier on a busy machine. */
export async function measureYear(engine: Engine, storage: Storage, days: number): Promise<Figure[]> {
  await migrated(storage);
  const world = await createWorld(storage, [demoBank()]);
  await world.connect(DEMO_BANK, { USER: 'success', PWD: 'any' });
  const started = performance.now();
  const before = process.cpuUsage();
  const moved = await advanceClock(world.services, APPLICATION, { byMs: days * DAY_MS }, { signal: new AbortController().signal });
  const tookMs = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  if (!moved.ok || moved.refreshes < 2 * days - 1) throw new Error(`a year that is none: ${JSON.stringify(moved)}`);
  const name = `${days === 365 ? 'a year' : `${days} days`} of one item by the test clock`;
  const below = (YEAR_BELOW_S * days) / 365;
  return [
    { name: `${name}, ${engine}`, value: tookMs / 1_000, unit: 's', limit: { below } },
    { name: `${name}, processor, ${engine}`, value: (user + system) / 1_000_000, unit: 's' },
  ];
}
