import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Refusal } from '../../base/errors.ts';
import { decodeCursor, encodeCursor } from '../edge/cursors.ts';
import { dateCursor, idCursor, updateCursor } from './pages.ts';

test('the recorded cursors encode byte for byte', () => {
  assert.equal(encodeCursor(dateCursor, { date: '2023-07-16', id: 36_000_070_521_211 }), 'MjAyMy0wNy0xNjozNjAwMDA3MDUyMTIxMQ');
  assert.equal(encodeCursor(idCursor, 591), 'NTkx');
  const updated = encodeCursor(updateCursor, { updatedAt: Date.parse('2023-07-24T16:14:56.342Z'), id: 36_000_070_521_538 });
  assert.equal(Buffer.from(updated, 'base64url').toString(), '2023-07-24T16:14:56.342Z_36000070521538');
});

test('a cursor reads as what it was written from', () => {
  const id = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  const ms = fc.integer({ min: 0, max: Date.parse('9999-12-31T23:59:59.999Z') });
  fc.assert(
    fc.property(id, ms, (row, updatedAt) => {
      const key = { updatedAt, id: row };
      assert.deepEqual(decodeCursor(updateCursor, encodeCursor(updateCursor, key)), key);
      assert.equal(decodeCursor(idCursor, encodeCursor(idCursor, row)), row);
    }),
  );
});

test('any other text is refused, never misread', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const key = decodeCursor(dateCursor, text);
        assert.equal(key && encodeCursor(dateCursor, key), text);
      } catch (error) {
        assert.ok(error instanceof Refusal && error.type === 'invalid_cursor');
      }
    }),
  );
});
