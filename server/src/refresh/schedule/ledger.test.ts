/** The laws of the ledger, for any history of calls. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DAY_MS, HOUR_MS } from '../../base/clock.ts';
import { type Asker, accountKey, callsLeft, EMPTY_LEDGER, type Ledger, readLedger, SCOPES, spend, writeLedger } from './ledger.ts';
import { MONDAY, RULES } from './testing.ts';

const ACCOUNTS = ['first ', 'second', 'third '];
const asks = fc.record({
  gapMs: fc.integer({ min: 0, max: 8 * HOUR_MS }),
  asker: fc.constantFrom<Asker>('scheduler', 'request', 'completion', 'user'),
  accounts: fc.subarray(ACCOUNTS, { minLength: 1 }),
});

test('no account is ever asked more often than its quota in any 24 hours, whoever asks; the scheduler leaves its part', () => {
  fc.assert(
    fc.property(fc.array(asks, { maxLength: 60 }), fc.boolean(), (history, countsAttended) => {
      const rules = { ...RULES, countsAttended };
      let ledger = EMPTY_LEDGER;
      let now = MONDAY;
      const made: { at: number; asker: Asker; account: string }[] = [];
      for (const { gapMs, asker, accounts } of history) {
        now += gapMs;
        const free = accounts.filter((account) => SCOPES.every((scope) => callsLeft(ledger, rules, asker, account, scope, now) !== 0));
        ledger = spend(ledger, rules, asker, { logins: 1, accounts: free, scopes: SCOPES }, now);
        for (const account of free) if (asker !== 'user' || countsAttended) made.push({ at: now, asker, account });
      }
      for (const { at: end, account } of made) {
        const window = made.filter((call) => call.account === account && call.at > end - DAY_MS && call.at <= end);
        assert.ok(window.length <= 4, `${window.length} calls in 24 h`);
        const beforeIt = window.filter((call) => call.at < end || call === window.at(-1));
        if (window.at(-1)?.asker === 'scheduler') assert.ok(beforeIt.length <= 3, 'the scheduler took the last one');
      }
    }),
    { numRuns: 300 },
  );
});

test('a ledger is read as it was written, and forgets after exactly 24 hours', () => {
  fc.assert(
    fc.property(fc.array(asks, { maxLength: 20 }), (history) => {
      let ledger: Ledger = EMPTY_LEDGER;
      let now = MONDAY;
      for (const { gapMs, asker, accounts } of history) {
        now += gapMs;
        ledger = spend(ledger, RULES, asker, { logins: 1, accounts: accounts.slice(0, 2), scopes: ['balances'] }, now);
      }
      assert.deepEqual(readLedger(JSON.parse(JSON.stringify(writeLedger(ledger)))), ledger);
      assert.deepEqual(spend(ledger, RULES, 'user', { logins: 0, accounts: [], scopes: SCOPES }, now + DAY_MS), EMPTY_LEDGER);
    }),
  );
});

test('an account keeps its name in the ledger as long as the bank keeps its identity', () => {
  const account = { identity: 'FR76…', type: 'checking', currency: 'EUR', name: 'Compte' };
  assert.equal(accountKey(account), accountKey({ ...account, name: 'Renamed' }));
  assert.notEqual(accountKey({ ...account, identity: null }), accountKey({ ...account, identity: null, name: 'Renamed' }));
  assert.equal(accountKey(account).length, 6);
});
