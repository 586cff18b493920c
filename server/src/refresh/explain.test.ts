import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PastRefresh } from '../items/refresh-history.ts';
import { explainAccount, explainRefresh } from './explain.ts';
import { noteOfAbsent, type RefreshRecord } from './record.ts';

test('an account that is not listed says how long it is kept: longer where most are not listed', () => {
  const note = noteOfAbsent(7, { lists: 2, since: Date.UTC(2026, 2, 2, 8), deleted: false });
  const list = { complete: true, accounts: 1, anomaly: null };
  assert.match(
    explainAccount(note, list).join(' '),
    /^Account 7 .* 2 complete lists .*: it is kept until a second list, most of a day later/,
  );
  const lost = { ...list, anomaly: { kind: 'accounts_lost' as const, lost: 2, known: 3 } };
  assert.match(
    explainAccount(note, lost).join(' '),
    /: with so many missing at once it is kept until four lists, over almost three days, lack it\.$/,
  );
  const gone = noteOfAbsent(7, { lists: 6, since: Date.UTC(2026, 2, 2, 8), deleted: true });
  assert.match(explainAccount(gone, lost).join(' '), /^Account 7 is deleted: it was absent from 6 complete lists/);
});

test('a list that names too few accounts, or none, is said to prove nothing', () => {
  const past: PastRefresh = {
    ...{ id: 'rfr_1', itemId: 7, applicationId: 'app', userUuid: 'u', cause: 'connect', state: 'finished_error', phase: 'recent' },
    ...{ status: 1003, statusCodeInfo: 'CNT_CRASH', fullRefresh: false, traceparent: null, startedAt: 0, finishedAt: 1, record: null },
  };
  const said = (list: RefreshRecord['list']) =>
    explainRefresh({ ...past, record: JSON.stringify({ calls: 2, attended: true, list, accounts: [] }) }).slice(2);
  assert.deepEqual(said({ complete: true, accounts: 0, anomaly: { kind: 'no_accounts', lost: 0, known: 0 } }), [
    'The bank listed 0 accounts.',
    'A list without any account is more likely a failure of the bank: nothing was concluded from it.',
  ]);
  const [, lost] = said({ complete: true, accounts: 1, anomaly: { kind: 'accounts_lost', lost: 2, known: 3 } });
  assert.match(lost!, /lacked 2 of 3 known accounts/);
});
