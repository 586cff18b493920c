import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodePlace, encodePlace, PLACE_CHARACTERS_MAX } from './place.ts';

const seq = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const place = fc.record(
  { seqs: fc.array(seq, { minLength: 64, maxLength: 64 }), segment: seq, turn: fc.integer({ min: 0, max: 63 }) },
  { noNullPrototype: true },
);

test('a place reads as what it was written from, by its application only', () => {
  fc.assert(
    fc.property(place, (written) => {
      const text = encodePlace('app_one', written);
      assert.deepEqual(decodePlace('app_one', text), written);
      assert.equal(decodePlace('app_two', text), null);
      assert.ok(text.length <= PLACE_CHARACTERS_MAX);
    }),
  );
});

test('a changed, cut or made-up text is no place', () => {
  const text = encodePlace('app_one', { seqs: Array<number>(64).fill(300), segment: 2, turn: 5 });
  for (let index = 0; index < text.length; index += 1) {
    const other = text[index] === 'A' ? 'B' : 'A';
    assert.equal(decodePlace('app_one', text.slice(0, index) + other + text.slice(index + 1)), null, `changed at ${index}`);
    assert.equal(decodePlace('app_one', text.slice(0, index)), null, `cut at ${index}`);
  }
  assert.equal(decodePlace('app_one', `${text}=`), null);
  assert.equal(decodePlace('app_one', 'x'.repeat(1_000_000)), null);
});
