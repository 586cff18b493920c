/** How many statements refreshes cost: from the request of the scheduler, or of a caller, to the commit. */

import type { RefreshServices } from '../../src/refresh/services.ts';
import { CONCURRENT_MAX, runPass } from '../../src/refresh/worker.ts';
import type { Storage, Writer } from '../../src/storage/storage.ts';
import type { Figure } from '../figures.ts';
import type { BenchBank } from './bank.ts';
import { APPLICATION, type Engine, request } from './place.ts';

/** Of an unchanged refresh, the claim and what it shares with others included. */
const STATEMENTS_BELOW = 3.01;

/** As many refreshes as a node runs at once, of each kind, and one alone: the statements of one, each share counted. */
export async function measureStatements(
  services: RefreshServices,
  bank: BenchBank,
  items: readonly number[],
  engine: Engine,
): Promise<Figure[]> {
  const together = items.slice(0, CONCURRENT_MAX);
  bank.change();
  const changed = await countedRun(services, together);
  const compared = await countedRun(services, together);
  const again = await countedRun(services, together);
  const alone = await countedRun(services, items.slice(0, 1));
  const figure = (kind: string, value: number, limit?: Figure['limit']): Figure => ({
    name: `statements of a refresh ${kind}, ${engine}`,
    value,
    unit: '',
    ...(limit ? { limit } : {}),
  });
  return [
    figure(`without changes, one of ${together.length}`, again, { below: STATEMENTS_BELOW }),
    figure(`without changes, compared, one of ${together.length}`, compared),
    figure(`with changes, one of ${together.length}`, changed),
    figure('without changes, alone', alone),
  ];
}

async function countedRun(services: RefreshServices, items: readonly number[]): Promise<number> {
  await request(services.storage, items, 'incremental');
  const { storage, counts } = countingStorage(services.storage);
  const ran = await runPass({ ...services, storage }, APPLICATION, new AbortController().signal);
  if (ran !== items.length) throw new Error(`${ran} of ${items.length} refreshes ran`);
  return (counts.reads + counts.writes) / items.length;
}

/** `writes` counts every statement inside transactions but `begin` and `commit`, their reads too; a batch of inserted rows is one. */
export function countingStorage(storage: Storage): { storage: Storage; counts: { reads: number; writes: number } } {
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
    insertLast: (table, columns, rows) => written(tx.insertLast(table, columns, rows)),
  });
  return {
    counts,
    storage: {
      ...storage,
      all: (query) => read(storage.all(query)),
      first: (query) => read(storage.first(query)),
      tuples: (query) => read(storage.tuples(query)),
      transaction: (work) => storage.transaction((tx) => work(writer(tx))),
    },
  };
}
