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

test('heads are items, and one by one what has no item', () => {
  const book = createBook();
  const row = (lane: number, itemId: number | null, seq: number, endpointId = 'wh_one') => ({ lane, endpointId, itemId, seq });
  for (const one of [row(3, 7, 1), row(3, 7, 2), row(4, 8, 3), row(5, null, 4), row(5, null, 5), row(5, 9, 6, 'wh_two')]) book.add(one);
  assert.deepEqual([book.heads('wh_one'), book.heads('wh_two'), book.heads('wh_three')], [4, 1, 0]);
  book.remove(row(3, 7, 1));
  book.remove(row(5, null, 4));
  assert.equal(book.heads('wh_one'), 3);
});
