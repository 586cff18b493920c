import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLookups } from './lookups.ts';

function world() {
  let now = 0;
  const running = new Map<string, PromiseWithResolvers<{ address: string; family: number }[]>>();
  const lookUp = createLookups(
    (hostname) => {
      const answer = Promise.withResolvers<{ address: string; family: number }[]>();
      running.set(hostname, answer);
      return answer.promise;
    },
    () => now,
  );
  const settle = async (hostname: string, afterMs: number, error?: Error) => {
    const answer = running.get(hostname)!;
    running.delete(hostname);
    now += afterMs;
    if (error) answer.reject(error);
    else answer.resolve([{ address: '192.0.2.1', family: 4 }]);
    // What waits for the answer runs before this does.
    await new Promise(setImmediate);
  };
  return { lookUp, settle, running: () => [...running.keys()] };
}

test('three lookups run at once, in the order in which they were asked for', async () => {
  const { lookUp, settle, running } = world();
  const answers = ['a', 'b', 'c', 'd', 'e'].map(lookUp);
  assert.deepEqual(running(), ['a', 'b', 'c']);
  await settle('b', 5);
  assert.deepEqual(running(), ['a', 'c', 'd']);
  for (const name of ['a', 'c', 'd', 'e']) await settle(name, 5);
  assert.equal((await Promise.all(answers)).length, 5);
});

test('names that were slow run one at a time, and others pass them', async () => {
  const { lookUp, settle, running } = world();
  const first = ['slow 1', 'slow 2', 'slow 3'].map((name) => lookUp(name).catch(() => []));
  for (const name of ['slow 1', 'slow 2', 'slow 3']) await settle(name, 5_000, new Error('EAI_AGAIN'));
  await Promise.all(first);
  const again = ['slow 1', 'slow 2', 'slow 3', 'quick'].map(lookUp);
  assert.deepEqual(running(), ['slow 1', 'quick']);
  await settle('slow 1', 10);
  assert.deepEqual(running(), ['quick', 'slow 2']);
  const mended = lookUp('slow 1');
  assert.deepEqual(running(), ['quick', 'slow 2', 'slow 1'], 'it was quick this time, and is one of the others again');
  for (const name of ['slow 1', 'slow 2', 'quick', 'slow 3']) await settle(name, 10);
  assert.equal((await Promise.all([...again, mended])).length, 5);
});

test('a failure is given to whoever asked', async () => {
  const { lookUp, settle } = world();
  const answer = lookUp('a');
  const refused = assert.rejects(answer, /ENOTFOUND/);
  await settle('a', 1, new Error('ENOTFOUND'));
  await refused;
});
