/** A database that fails at one of its calls, before that is done or after: a connection that breaks says nothing of which. */
import type { Storage, Writer } from '../../src/storage/storage.ts';

export type Stumbling = {
  storage: Storage;
  /** `made` counts while `on`; `failed` is the call that did. */
  calls: { made: number; on: boolean; failed: string | null };
};

export class Stumbled extends Error {}

/**
 * Call `fails` throws. `within`: the calls of transactions are counted too, each beside the transaction itself; such a one fails
 * before it is done, since what was done goes with its transaction.
 */
export function stumbling(storage: Storage, fails: number, { after, within }: { after: boolean; within: boolean }): Stumbling {
  const calls: Stumbling['calls'] = { made: 0, on: false, failed: null };
  const stumble = async <T>(name: string, call: () => Promise<T>, isDoneBefore = after): Promise<T> => {
    if (!calls.on) return call();
    calls.made += 1;
    if (calls.made !== fails) return call();
    calls.failed = name;
    if (isDoneBefore) await call();
    throw new Stumbled(`the connection broke at call ${fails}: ${name}`);
  };
  const ofTransaction = (tx: Writer): Writer => ({
    ...tx,
    all: (query) => stumble('tx.all', () => tx.all(query), false),
    first: (query) => stumble('tx.first', () => tx.first(query), false),
    run: (query) => stumble('tx.run', () => tx.run(query), false),
    insertMany: (table, columns, rows, tail) => stumble(`insert ${table}`, () => tx.insertMany(table, columns, rows, tail), false),
    insertLast: (table, columns, rows) => stumble(`insert ${table}`, () => tx.insertLast(table, columns, rows), false),
  });
  const wrapped: Storage = {
    ...storage,
    all: (query) => stumble('all', () => storage.all(query)),
    first: (query) => stumble('first', () => storage.first(query)),
    tuples: (query) => stumble('tuples', () => storage.tuples(query)),
    transaction: (work, options) =>
      stumble('transaction', () => storage.transaction(within ? (tx) => work(ofTransaction(tx)) : work, options)),
    alone: {
      first: (query) => stumble('alone.first', () => storage.alone.first(query)),
      run: (query) => stumble('alone.run', () => storage.alone.run(query)),
    },
  };
  return { storage: wrapped, calls };
}
