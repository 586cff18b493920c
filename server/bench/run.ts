/** `npm run bench`: every figure beside its limit. `--short` for a quick look, `--json FILE` keeps them, `--engine sqlite|postgres` runs one. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Figure, runDeliveryBench } from './delivery.ts';
import { runIdleBench } from './idle.ts';
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

const figures: Figure[] = [];
for (const bench of BENCHES) {
  for (const engine of engines) figures.push(...(await bench({ engine, short: flags.short })));
}

const rows = figures.map((figure) => [
  figure.name,
  `${round(figure.value)} ${figure.unit}`,
  figure.peer === undefined ? '' : `${round(figure.peer)} ${figure.unit}`,
  figure.ratio === undefined ? '' : figure.ratio.toFixed(2),
  limitOf(figure),
  verdict(figure),
]);
const table = [['figure', 'value', 'peer', 'ratio', 'limit', ''], ...rows];
const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
for (const row of table)
  console.log(row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '));
if (flags.json !== undefined)
  writeFileSync(flags.json, `${JSON.stringify({ node: process.version, short: flags.short, figures }, null, 2)}\n`);

function round(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);
}

function limitOf({ limit }: Figure): string {
  if (!limit) return '';
  return 'atLeast' in limit ? `>= ${limit.atLeast}` : `< ${limit.below}`;
}

function verdict({ limit, ratio, value }: Figure): string {
  if (!limit) return '';
  const measured = ratio ?? value;
  return ('atLeast' in limit ? measured >= limit.atLeast : measured < limit.below) ? 'reached' : 'missed';
}
