/**
 * `npm run crash`: 200 random moments per engine of killed servers, crashed databases and frozen nodes; `--short` takes
 * under a minute. Exits non-zero on any loss, disorder or imbalance. `--seed N` plays one run again as far as the
 * machine's own timing allows, `--engine sqlite|postgres` plays one, `--moments N` overrides their number.
 */
import { parseArgs } from 'node:util';
import { seeded } from '../support/random.ts';
import { playStory, type StoryResult } from './delivery-story.ts';
import { PATHS } from './receiver.ts';
import { playRefreshStory } from './refresh-story.ts';

const SIZES = {
  full: { moments: 200, freezes: 10, outages: true, refreshKills: 100 },
  short: { moments: 6, freezes: 1, outages: false, refreshKills: 4 },
} as const;

const { values: flags } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    seed: { type: 'string' },
    engine: { type: 'string' },
    moments: { type: 'string' },
  },
});
const seed = flags.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(flags.seed);
const size = flags.short ? SIZES.short : SIZES.full;
const moments = flags.moments === undefined ? size.moments : Number(flags.moments);
const engines = (['sqlite', 'postgres'] as const).filter((engine) => flags.engine === undefined || flags.engine === engine);
if (engines.length === 0 || !Number.isInteger(seed) || !Number.isInteger(moments) || moments < 1)
  throw new Error('usage: crash [--short] [--seed N] [--engine sqlite|postgres] [--moments N]');

console.log(`seed ${seed}`);
let failed = 0;
for (const engine of engines) {
  const started = performance.now();
  const onMoment = (done: number) => {
    if (done % 20 === 0) console.log(`${engine}: ${done} of ${moments} moments`);
  };
  try {
    const result = await playStory({ engine, ...size, moments, random: seeded(seed), onMoment });
    print(engine, result, performance.now() - started);
    if (result.faults.length > 0) failed += 1;
    const refreshed = await playRefreshStory(engine, size.refreshKills, seeded(seed));
    console.log(
      `${engine}: ${size.refreshKills} kills during refreshes: ${refreshed.events} events, each told; ${refreshed.rows} rows, as counted; ${refreshed.ahead} refreshes of a clock that went ahead; ${refreshed.repeats} repeats`,
    );
  } catch (error) {
    console.log(`${engine}: the story broke off: ${error instanceof Error ? error.message : error}`);
    failed += 1;
  }
}
console.log(`${engines.length - Math.min(failed, engines.length)} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function print(engine: string, result: StoryResult, tookMs: number): void {
  const { events, deliveries, kills, databaseCrashes, freezes, verdicts, faults } = result;
  const repeats = PATHS.map((path) => `${path} ${verdicts[path].repeats}`).join(', ');
  const lost = PATHS.reduce((sum, path) => sum + verdicts[path].lost.length, 0);
  console.log(
    `${engine}: ${kills} kills, ${databaseCrashes} database crashes, ${freezes} freezes in ${Math.round(tookMs / 1_000)} s: ` +
      `${events} events, ${deliveries} deliveries, ${lost} lost, repeats: ${repeats}`,
  );
  for (const fault of faults) console.log(`  ${fault}`);
}
