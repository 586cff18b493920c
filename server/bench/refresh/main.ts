/**
 * `npm run bench:refresh`: what refreshes cost us beside the bank's own time, on both engines; each figure beside its limit, or
 * a peer of the same run. `--short` takes under a minute, `--json FILE` keeps the figures, `--engine sqlite|postgres` runs one.
 */
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import type { Storage } from '../../src/storage/storage.ts';
import { type Figure, printFigures } from '../figures.ts';
import { runMatcherBench } from '../matcher.ts';
import { measureDue, measureSpread } from './due.ts';
import { type Engine, openPlace } from './place.ts';
import { LARGE, measureRates, USUAL } from './rates.ts';
import { measureYear } from './year.ts';

const SIZES = {
  full: {
    usual: { items: 400, rounds: 5, idleRounds: 3 },
    large: { items: 16, rounds: 3, idleRounds: 3 },
    due: 1_000_000,
    spread: 1_000_000,
    yearDays: 365,
  },
  short: {
    usual: { items: 80, rounds: 3, idleRounds: 2 },
    large: { items: 2, rounds: 2, idleRounds: 2 },
    due: 50_000,
    spread: 100_000,
    yearDays: 91,
  },
} as const;

const { values: flags } = parseArgs({
  options: { short: { type: 'boolean', default: false }, json: { type: 'string' }, engine: { type: 'string' } },
});
const size = flags.short ? SIZES.short : SIZES.full;
const engines = (['sqlite', 'postgres'] as const).filter((engine) => flags.engine === undefined || flags.engine === engine);
if (engines.length === 0) throw new Error(`--engine is sqlite or postgres, not ${flags.engine}`);

const load = loadavg()[0]!;
const figures: Figure[] = measureSpread(size.spread);
for (const engine of engines) {
  figures.push(
    ...(await onFresh(engine, (storage) => measureRates(engine, storage, USUAL, size.usual))),
    ...(await onFresh(engine, (storage) => measureRates(engine, storage, LARGE, size.large))),
    ...(await onFresh(engine, (few) => onFresh(engine, (many) => measureDue(engine, few, many, size.due)))),
    ...(await onFresh(engine, (storage) => measureYear(engine, storage, size.yearDays))),
  );
}
// Last, because its hundred thousand rows would count in the memory of everything after it.
figures.push(...(await runMatcherBench({ short: flags.short })));
printFigures(figures);
console.log(
  `\nOther work of this machine when it began (load average): ${load.toFixed(1)}. Rates are those of a machine that has nothing else to do.`,
);
if (flags.json !== undefined)
  writeFileSync(flags.json, `${JSON.stringify({ node: process.version, short: flags.short, load, figures }, null, 2)}\n`);

async function onFresh<T>(engine: Engine, work: (storage: Storage) => Promise<T>): Promise<T> {
  const place = await openPlace(engine);
  try {
    return await work(place.storage);
  } finally {
    await place.close();
  }
}
