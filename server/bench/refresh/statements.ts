/** How many statements a refresh costs: reads outside, and what its one transaction writes. */
import { claimRefreshes } from '../../src/items/refreshes.ts';
import { type RefreshServices, runRefresh } from '../../src/refresh/run.ts';
import type { Storage, Writer } from '../../src/storage/storage.ts';
import type { Figure } from '../figures.ts';
import type { BenchBank } from './bank.ts';
import { type Engine, request } from './place.ts';

/** An unchanged refresh reads at most three times. */
const READS_BELOW = 4;

/** One refresh of each kind, its statements counted from the claimed record to the commit. */
export async function measureStatements(services: RefreshServices, bank: BenchBank, itemId: number, engine: Engine): Promise<Figure[]> {
  bank.change();
  const changed = await countedRun(services, itemId);
  const compared = await countedRun(services, itemId);
  const again = await countedRun(services, itemId);
  const figures = (kind: string, { reads, writes }: { reads: number; writes: number }): Figure[] => [
    { name: `reads of a refresh ${kind}, ${engine}`, value: reads, unit: '', limit: { below: READS_BELOW } },
    { name: `statements of its one transaction, ${engine}`, value: writes, unit: '' },
  ];
  return [
    ...figures('without changes, its answer known', again),
    ...figures('without changes, compared', compared),
    ...figures('with changes', changed),
  ];
}

async function countedRun(services: RefreshServices, itemId: number): Promise<{ reads: number; writes: number }> {
  const { storage } = services;
  await request(storage, [itemId], 'incremental');
  const [refresh] = await storage.transaction((tx) => claimRefreshes(tx, storage, { now: Date.now(), leaseMs: 60_000, limit: 1 }));
  const { storage: counting, counts } = countingStorage(storage);
  await runRefresh({ ...services, storage: counting }, refresh!, new AbortController().signal);
  return counts;
}

/** `writes` counts every statement inside transactions, their reads too; a batch of inserted rows is one. */
function countingStorage(storage: Storage): { storage: Storage; counts: { reads: number; writes: number } } {
  const counts = { reads: 0, writes: 0 };
  const read = <T>(answer: T): T => {
    counts.reads += 1;
    return answer;
  };
  const written = <T>(answer: T): T => {
    counts.writes += 1;
    return answer;
  };
  const writer = (tx: Writer): Writer => ({
    all: (query) => written(tx.all(query)),
    first: (query) => written(tx.first(query)),
    run: (query) => written(tx.run(query)),
    insertMany: (table, columns, rows, tail) =>
      rows.length === 0 ? tx.insertMany(table, columns, rows, tail) : written(tx.insertMany(table, columns, rows, tail)),
  });
  return {
    counts,
    storage: {
      ...storage,
      all: (query) => read(storage.all(query)),
      first: (query) => read(storage.first(query)),
      transaction: (work) => storage.transaction((tx) => work(writer(tx))),
    },
  };
}
