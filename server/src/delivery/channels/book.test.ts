import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBook } from './book.ts';

test('erased items leave the book, so that what was theirs keeps no endpoint from reading', () => {
  const book = createBook();
  const row = (itemId: number | null, seq: number, endpointId = 'wh_one') => ({ lane: 3, endpointId, itemId, seq });
  for (const one of [row(7, 1), row(7, 2), row(8, 3), row(null, 4), row(7, 5, 'wh_two')]) book.add(one);
  book.forgetItems(new Set([7]));
  assert.equal(book.head(3, 'wh_one', 7), undefined);
  assert.equal(book.head(3, 'wh_one', 8), 3);
  assert.deepEqual([book.size('wh_one'), book.size('wh_two')], [2, 0]);
  book.forgetItems(new Set([7]));
  book.forgetLane(3);
  assert.equal(book.size('wh_one'), 0);
});
