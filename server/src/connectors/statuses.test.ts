import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { StatusCode } from './connector.ts';
import { defaultInfo, describe, isStatusCode, knownInfos, statusOf, worstOf, worstStatus } from './statuses.ts';

const statuses: StatusCode[] = [0, -2, -3, 402, 429, 1003, 1005, 1007, 1009, 1010, 1099, 1100];

test('fine and still running have no sentence; every trouble has one in each language', () => {
  for (const status of statuses) {
    for (const info of [null, 'SOMETHING_NEW', ...knownInfos[status]]) {
      const english = describe(status, info, 'en');
      const french = describe(status, info, 'fr');
      if (status <= 0) assert.deepEqual([english, french], [null, null]);
      else assert.ok(english && french && english !== french, `${status} ${info}`);
    }
  }
});

test('docs/statuses.md has every status and every info, and knows no other', () => {
  const page = readFileSync(new URL('../../../docs/statuses.md', import.meta.url), 'utf8');
  const [table, infos] = page.split('## Infos') as [string, string];
  const named = [...table.matchAll(/^\| `(-?\d+)`/gm)].map(([, status]) => Number(status));
  assert.deepEqual(named.sort(), statuses.toSorted());
  for (const status of statuses) {
    const row = infos.split('\n').find((line) => line.startsWith(`| \`${status}\``)) ?? '';
    const listed = [...row.matchAll(/`([A-Z_0-9]{2,})`/g)].map(([, info]) => info!).filter((info) => /[A-Z]/.test(info));
    assert.deepEqual(listed.sort(), knownInfos[status].toSorted(), `${status}`);
  }
});

test('an info has its own sentence only under its own status', () => {
  assert.equal(describe(1003, 'BANK_IS_DOWN', 'en'), "Your bank's interface is down for now.");
  assert.equal(describe(1003, 'WRONG_PWD', 'en'), describe(1003, null, 'en'));
});

test('the worst status that somebody can act on stands for the item', () => {
  assert.equal(worstStatus([]), 0);
  assert.equal(worstStatus([0, 1003, 1010, 429, 402]), 402);
  assert.equal(worstStatus([1003, 1007, 1100, 1010]), 1010);
  assert.equal(worstStatus([1003, 1007]), 1007);
  assert.equal(worstStatus([0, 1005, 1009]), 0);
  assert.equal(worstStatus([1005, 1003, 1009]), 1003);
});

test('every info that the contract lists has a sentence of its own in each language', () => {
  for (const status of [402, 429, 1003, 1005, 1010] as const) {
    for (const info of knownInfos[status]) {
      for (const language of ['en', 'fr'] as const) {
        assert.notEqual(describe(status, info, language), describe(status, null, language), `${status} ${info} ${language}`);
      }
    }
  }
});

test('an item says what its worst account says', () => {
  assert.deepEqual(worstOf([]), { status: 0, info: 'OK' });
  assert.deepEqual(
    worstOf([
      { status: 0, info: 'OK' },
      { status: 1003, info: 'BANK_IS_DOWN' },
      { status: 1005, info: 'CLOSED_ACCOUNT' },
    ]),
    { status: 1003, info: 'BANK_IS_DOWN' },
  );
  assert.deepEqual(worstOf([{ status: 1003, info: null }]), { status: 1003, info: 'CNT_CRASH' });
  assert.deepEqual(worstOf([{ status: 1005, info: 'CLOSED_ACCOUNT' }]), { status: 0, info: 'OK' });
});

test('a bank that wants a new password is 430 of older versions, and 429 here', () => {
  assert.deepEqual(statusOf(430), { status: 429, info: 'CREDS_UPDATE_MESSAGE' });
  assert.deepEqual(statusOf(1010), { status: 1010, info: 'OTP_REQUIRED' });
  assert.equal(statusOf(431), null);
});

test('a status without an info takes the one that is true of all its cases, and none where there is none', () => {
  assert.equal(defaultInfo(402), 'INVALID_CREDS');
  assert.equal(defaultInfo(429), 'SMTH_TO_VALIDATE');
  assert.equal(defaultInfo(1005), null);
  assert.equal(defaultInfo(1007), null);
  for (const status of statuses) {
    const info = defaultInfo(status);
    assert.ok(info === null || knownInfos[status].includes(info), `${status} ${info}`);
  }
  assert.equal(isStatusCode(1100), true);
  assert.equal(isStatusCode(404), false);
});
