import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashPassword, passwordMatches } from './passwords.ts';

test('a password matches its own digest only; many at once all come to an end', async () => {
  const stored = await hashPassword('correct horse');
  assert.match(stored, /^scrypt\$16384\$8\$5\$[\w-]{22}\$[\w-]{43}$/);
  assert.notEqual(await hashPassword('correct horse'), stored);
  const guesses = ['correct horse', 'correct hors', '', 'Correct horse'];
  assert.deepEqual(await Promise.all(guesses.map((guess) => passwordMatches(guess, stored))), [true, false, false, false]);
  assert.equal(await passwordMatches('correct horse', null), false);
});
