import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERRORS } from './errors.ts';

test('docs/errors.md says of every error its status and its message, and knows no other', () => {
  const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');
  const documented = [...page.matchAll(/^\| (\d{3}) \| <a id="(\w+)"><\/a>`(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$/gm)].map(
    ([, status, anchor, type, message]) => ({ status: Number(status), anchor, type, message }),
  );
  assert.deepEqual(
    documented,
    Object.entries(ERRORS).map(([type, error]) => ({ status: error.status, anchor: type, type, message: error.message })),
  );
});
