/** `npm run bench`: every figure beside its limit. `--short` for a quick look, `--json FILE` keeps them, `--engine sqlite|postgres` runs one. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { runDeliveryBench } from './delivery.ts';
import { type Figure, printFigures } from './figures.ts';
import { runIdleBench } from './idle.ts';
import { runMatcherBench } from './matcher.ts';
import { runRefreshBench } from './refresh.ts';

type Engine = 'sqlite' | 'postgres';
/** One entry per set of figures; each runs once per engine. */
const BENCHES: readonly ((options: { engine: Engine; short: boolean }) => Promise<Figure[]>)[] = [
  runDeliveryBench,
  runRefreshBench,
  runIdleBench,
];

const { values: flags } = parseArgs({
  options: { short: { type: 'boolean', default: false }, json: { type: 'string' }, engine: { type: 'string' } },
});
const engines = (['sqlite', 'postgres'] as const).filter((engine) => flags.engine === undefined || flags.engine === engine);

/** The matcher knows no engine. */
const figures: Figure[] = await runMatcherBench({ short: flags.short });
for (const bench of BENCHES) {
  for (const engine of engines) figures.push(...(await bench({ engine, short: flags.short })));
}

printFigures(figures);
if (flags.json !== undefined)
  writeFileSync(flags.json, `${JSON.stringify({ node: process.version, short: flags.short, figures }, null, 2)}\n`);
