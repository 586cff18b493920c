/** Refreshes per second through the real worker: nothing changed and the answer known, nothing changed and compared row by row, 5 % changed. */
import { type Figure, median } from '../figures.ts';
import { benchBank, type Shape } from './bank.ts';
import { bareRefreshes, type Engine, itemsOf, oneRound, type Rate, request, runAll, seed, servicesOf } from './place.ts';
import { measureStatements } from './statements.ts';

export type RatesSize = { items: number; rounds: number; idleRounds: number };

/** The figures of the promise are for three accounts of 150 rows. */
export const USUAL: Shape = { accounts: 3, rows: 150 };
export const LARGE: Shape = { accounts: 1, rows: 10_000 };
const LIMITS = { unchanged: { sqlite: 1_000, postgres: 500 }, changed: { sqlite: 200, postgres: 150 } } as const;

const MEBIBYTE = 1_048_576;

export async function measureRates(
  engine: Engine,
  storage: Parameters<typeof servicesOf>[0],
  shape: Shape,
  size: RatesSize,
): Promise<Figure[]> {
  const bank = benchBank(shape, Date.now());
  const services = servicesOf(storage, bank);
  const items = itemsOf(size.items);
  await seed(services, items);
  await request(storage, items, 'full');
  await runAll(services, items.length);
  bank.change();
  await oneRound(services, items);

  const rates: Record<'known' | 'compared' | 'changed', Rate[]> = { known: [], compared: [], changed: [] };
  const bare: number[] = [];
  for (let round = 0; round < size.rounds; round += 1) {
    rates.compared.push(await oneRound(services, items));
    for (let idle = 0; idle < size.idleRounds; idle += 1) {
      rates.known.push(await oneRound(services, items));
      bare.push(await bareRefreshes(storage, items));
    }
    bank.change();
    rates.changed.push(await oneRound(services, items));
  }
  const name = (what: string) => `${shape.accounts} x ${shape.rows.toLocaleString('en')} rows, ${what}, ${engine}`;
  const rate = (what: string, kind: keyof typeof rates, limit: number | null): Figure => ({
    name: name(what),
    value: median(rates[kind].map(({ perSecond }) => perSecond)),
    unit: '/s',
    ...(kind === 'known' ? { peer: median(bare) } : {}),
    ...(limit === null ? {} : { limit: { atLeast: limit } }),
  });
  const cpu = (what: string, kind: keyof typeof rates): Figure => ({
    name: name(`processor time, ${what}`),
    value: median(rates[kind].map(({ cpuMs }) => cpuMs)),
    unit: 'ms',
  });
  const usual = shape === USUAL;
  return [
    rate('unchanged', 'known', usual ? LIMITS.unchanged[engine] : null),
    rate('unchanged, compared', 'compared', null),
    rate('5 % changed', 'changed', usual ? LIMITS.changed[engine] : null),
    cpu('unchanged', 'known'),
    cpu('unchanged, compared', 'compared'),
    cpu('5 % changed', 'changed'),
    ...(usual ? await measureStatements(services, bank, items, engine) : []),
    ...(await memory(name, async () => {
      await oneRound(services, items);
    })),
  ];
}

/** What refreshes leave in memory: the heap after garbage collection, before and after several rounds. */
async function memory(name: (what: string) => string, round: () => Promise<void>): Promise<Figure[]> {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  await round();
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let count = 0; count < 3; count += 1) await round();
  collect();
  const { heapUsed, rss } = process.memoryUsage();
  return [
    { name: name('heap kept after three more rounds'), value: (heapUsed - before) / MEBIBYTE, unit: 'MiB' },
    { name: name('resident memory'), value: rss / MEBIBYTE, unit: 'MiB' },
  ];
}
