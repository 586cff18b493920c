/**
 * `npm run simulate`: banks of every behaviour under several seeds, ours beside three simple algorithms. Exits with 1 if a
 * single row of ours was wrong. `--short` takes seconds; `--seed N` repeats one seed, `--behaviour WORDS` those with the words.
 */
import { parseArgs } from 'node:util';
import { BEHAVIOURS, WINDOW_HABITS } from './bank.ts';
import { simulate, type Tally } from './simulation.ts';

const { values: flags } = parseArgs({
  options: { short: { type: 'boolean', default: false }, seed: { type: 'string' }, behaviour: { type: 'string' } },
});
const SIZES = { full: { seeds: 5, size: { days: 110, perDay: 14 } }, short: { seeds: 2, size: { days: 50, perDay: 11 } } } as const;
const FIRST_SEED = 1_001;

const { seeds: seedCount, size } = flags.short ? SIZES.short : SIZES.full;
const seeds = flags.seed === undefined ? Array.from({ length: seedCount }, (_, at) => FIRST_SEED + at) : [Number(flags.seed)];
const behaviours = BEHAVIOURS.filter(({ name }) => name.includes(flags.behaviour ?? ''));
if (behaviours.length === 0 || !seeds.every(Number.isSafeInteger)) {
  console.error(`Nothing to simulate. The behaviours are: ${BEHAVIOURS.map(({ name }) => name).join('; ')}.`);
  process.exit(2);
}

const startedAt = performance.now();
const tallies: Tally[] = [];
for (const behaviour of behaviours) {
  for (const seed of seeds) {
    tallies.push(await simulate(behaviour, seed, size));
    const { length } = tallies;
    process.stderr.write(`\r${length} of ${behaviours.length * seeds.length}: ${behaviour.name}, seed ${seed}`.padEnd(70));
  }
}
process.stderr.write('\r'.padEnd(71).concat('\r'));
print(tallies);
process.exitCode = tallies.some(isWrong) ? 1 : 0;

function isWrong({ wrongAfterRefresh, wrongAtEnd, neverAskedFor, wronglyDeleted, wrongCounts }: Tally): boolean {
  return wrongAfterRefresh + wrongAtEnd + neverAskedFor + wronglyDeleted + wrongCounts > 0;
}

function print(all: readonly Tally[]): void {
  const sum = (of: readonly Tally[], field: (tally: Tally) => number) => of.reduce((total, tally) => total + field(tally), 0);
  const count = (value: number) => value.toLocaleString('en');
  const names = all[0]!.simple.map(({ name }) => name);
  const rowOf = (name: string, of: readonly Tally[]) => [
    name,
    count(sum(of, ({ payments }) => payments)),
    count(sum(of, ({ refreshes }) => refreshes)),
    count(sum(of, ({ rowsFetched }) => rowsFetched)),
    count(sum(of, ({ wrongAtEnd }) => wrongAtEnd)),
    count(sum(of, ({ wrongAfterRefresh }) => wrongAfterRefresh)),
    count(sum(of, ({ neverAskedFor }) => neverAskedFor)),
    count(sum(of, ({ wronglyDeleted, wrongCounts }) => wronglyDeleted + wrongCounts)),
    count(sum(of, ({ late }) => late)),
    count(sum(of, ({ keptByBreaker }) => keptByBreaker)),
    count(sum(of, ({ toldTwice }) => toldTwice)),
    ...names.map(
      (_, at) => `${count(sum(of, ({ simple }) => simple[at]!.missing))} + ${count(sum(of, ({ simple }) => simple[at]!.extra))}`,
    ),
  ];
  const table = [
    [
      'bank',
      'payments',
      'refreshes',
      'rows read',
      'wrong at end',
      'after refreshes',
      'never asked',
      'deletions, counts',
      'a look late',
      'kept by breaker',
      'told twice',
      ...names,
    ],
    ...behaviours.map(({ name }) =>
      rowOf(
        name,
        all.filter(({ behaviour }) => behaviour === name),
      ),
    ),
    rowOf('all', all),
    ...WINDOW_HABITS.flatMap(({ name }) => {
      const of = all.filter(({ habit }) => habit === name);
      return of.length === 0 ? [] : [rowOf(`window: ${name}`, of)];
    }),
  ];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  for (const row of table) console.log(row.map((cell, at) => (at === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[at]!))).join('  '));
  console.log(
    `Seeds ${seeds.join(', ')}; ${Math.round((performance.now() - startedAt) / 1_000)} s. The simple algorithms: rows missing + extra on the day of the last payment.`,
  );
  console.log('Never asked: rows that the bank had shown whenever it was asked for their days, and that no window reached.');
  console.log('A look late: rows that were gone and were confirmed by the third true answer, not the second.');
  console.log('Kept by breaker: rows times refreshes in which a row that is gone stayed because too many went at once.');
  console.log('Told twice: rows deleted because the bank said twice, hours apart, that it has none; they were too few for the breaker.');
  for (const tally of all.filter(isWrong)) {
    console.log(`WRONG: ${tally.behaviour}, ${tally.habit}, seed ${tally.seed}: ${tally.firstWrong ?? `${tally.wrongAtEnd} at the end`}`);
  }
}
