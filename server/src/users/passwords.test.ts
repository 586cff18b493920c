import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashPassword, passwordMatches } from './passwords.ts';

test('a password matches its own digest only; many at once all come to an end', async () => {
  const stored = await hashPassword('correct horse', 'app_a');
  assert.match(stored, /^scrypt\$16384\$8\$5\$[\w-]{22}\$[\w-]{43}$/);
  assert.notEqual(await hashPassword('correct horse', 'app_a'), stored);
  const guesses = ['correct horse', 'correct hors', '', 'Correct horse'];
  assert.deepEqual(await Promise.all(guesses.map((guess) => passwordMatches(guess, stored, 'app_a'))), [true, false, false, false]);
  assert.equal(await passwordMatches('correct horse', null, 'app_a'), false);
});

test('one application that asks for many does not keep another waiting for all of them', async () => {
  const ended: string[] = [];
  const ask = async (owner: string) => {
    await passwordMatches('guess', null, owner);
    ended.push(owner);
  };
  await Promise.all([...Array.from({ length: 6 }, () => ask('app_many')), ask('app_one'), ask('app_two')]);
  // Two of the first run at once, and one more has its turn before theirs; two that run together may end in either order.
  assert.ok(ended.indexOf('app_one') <= 4, ended.join());
  assert.ok(ended.indexOf('app_two') <= 5, ended.join());
});
