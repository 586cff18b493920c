import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from './log.ts';

test('an error is logged by its name, code and place, and never with the row that the database quotes', () => {
  const lines: string[] = [];
  const log = createLog('info', { write: (line: string) => lines.push(line) });
  const error = Object.assign(new Error('new row violates check'), {
    code: '23514',
    detail: 'Failing row contains (FR7630006000011234567890189)',
  });
  log.error({ error, item: 7 }, 'refresh failed');
  const line = JSON.parse(lines[0]!) as { error: Record<string, unknown>; item: number };
  assert.equal(line.item, 7);
  assert.deepEqual(Object.keys(line.error), ['type', 'message', 'code', 'stack']);
  assert.ok(!lines[0]!.includes('FR76'));
});
