import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ObservedAccount } from '../../connectors/connector.ts';
import { matchAccounts, type StoredAccount } from './accounts.ts';
import { HOUR_MS, NOON } from './fixtures.ts';

function known(id: number, more: Partial<StoredAccount> = {}): StoredAccount {
  const base = { id, identity: `i${id}`, iban: null, currency: 'EUR', type: 'checking' as const, name: `Compte ${id}` };
  return { ...base, absentSince: null, absences: 0, deletedAt: null, ...more };
}

function seen(id: number, more: Partial<ObservedAccount> = {}): ObservedAccount {
  const base = { identity: `i${id}`, name: `Compte ${id}`, type: 'checking' as const, currency: 'EUR', iban: null };
  return { ...base, isPro: false, loanDetails: null, savingsDetails: null, handle: `h${id}`, ...more };
}

const pairs = (stored: StoredAccount[], observed: ObservedAccount[]) =>
  matchAccounts(stored, observed, true, NOON).matched.map(({ stored: { id }, observed: { handle }, rule }) => `${id}=${handle} by ${rule}`);

const IBAN = 'FR6914508000303386763591H62';

describe('identity of accounts', () => {
  test('the bank’s identity comes first, whatever else changed', () => {
    assert.deepEqual(pairs([known(1)], [seen(1, { name: 'Autre', type: 'savings', iban: IBAN })]), ['1=h1 by identity']);
  });

  test('then the IBAN, then the national number, then type, currency and name', () => {
    assert.deepEqual(pairs([known(1, { identity: null, iban: IBAN })], [seen(9, { iban: 'FR69 1450 8000 3033 8676 3591 H62' })]), [
      '1=h9 by iban',
    ]);
    const merged = 'FR7630004000303386763591H99'.replace('FR76', 'FR12');
    assert.deepEqual(pairs([known(1, { identity: null, iban: IBAN })], [seen(9, { identity: null, iban: merged })]), [
      '1=h9 by national_number',
    ]);
    assert.deepEqual(pairs([known(1, { identity: null })], [seen(9, { identity: null, name: 'COMPTE 1' })]), ['1=h9 by name']);
  });

  test('two accounts that share an IBAN are told apart by name and currency', () => {
    const stored = [known(1, { identity: null, iban: IBAN, name: 'Courant' }), known(2, { identity: null, iban: IBAN, name: 'Livret' })];
    const observed = [seen(8, { identity: null, iban: IBAN, name: 'Livret' }), seen(9, { identity: null, iban: IBAN, name: 'Courant' })];
    assert.deepEqual(pairs(stored, observed), ['2=h8 by iban', '1=h9 by iban']);
  });

  test('accounts that nothing tells apart are paired in their order, live ones first, and only what is more is new', () => {
    const twin = { identity: null, name: 'Livret' };
    const stored = [known(1, { ...twin, deletedAt: NOON - 1 }), known(2, twin), known(3, twin)];
    const observed = [7, 8, 9, 10].map((id) => seen(id, twin));
    assert.deepEqual(pairs(stored, observed.slice(0, 2)), ['2=h7 by name', '3=h8 by name']);
    const { matched, created } = matchAccounts(stored, observed, true, NOON);
    assert.deepEqual([matched.map(({ reappeared }) => reappeared), created.length], [[false, false, true], 1]);
    assert.deepEqual(
      matchAccounts(stored, observed.slice(0, 1), true, NOON).missing.map(({ stored: { id } }) => id),
      [3],
    );
  });

  test('a name never overrides different IBANs or identities', () => {
    assert.deepEqual(pairs([known(1, { name: 'Livret' })], [seen(2, { name: 'Livret' })]), []);
  });

  test('an account that reappears keeps its id, and a live one is preferred', () => {
    const deleted = known(1, { deletedAt: NOON - 1 });
    const [match] = matchAccounts([deleted], [seen(1)], true, NOON).matched;
    assert.deepEqual([match?.stored.id, match?.reappeared], [1, true]);
    assert.deepEqual(pairs([deleted, known(2, { identity: 'i1' })], [seen(1)]), ['2=h1 by identity']);
  });
});

describe('missing accounts', () => {
  const stored = [known(1), known(2)];

  test('are deleted after two complete lists and twenty hours', () => {
    const once = matchAccounts(stored, [seen(1)], true, NOON).missing[0]!;
    assert.deepEqual([once.stored.id, once.absences, once.deleted], [2, 1, false]);
    const after = (hours: number) => {
      const absent = known(2, { absentSince: once.absentSince, absences: once.absences });
      return matchAccounts([known(1), absent], [seen(1)], true, NOON + hours * HOUR_MS).missing[0]!.deleted;
    };
    assert.deepEqual([after(19), after(20)], [false, true]);
  });

  test('mean nothing in a list that is not complete', () => {
    assert.deepEqual(matchAccounts(stored, [seen(1)], false, NOON).missing, []);
  });

  test('an empty list, or one that loses more than half of three, is an anomaly', () => {
    const empty = matchAccounts(stored, [], true, NOON);
    assert.deepEqual(empty.anomaly, { kind: 'accounts_lost', lost: 2, known: 2 });
    assert.deepEqual(
      empty.missing.map(({ absences, deleted }) => [absences, deleted]),
      [
        [1, false],
        [1, false],
      ],
    );
    const three = [known(1), known(2), known(3)];
    assert.equal(matchAccounts(three, [seen(1)], true, NOON).anomaly?.lost, 2);
    assert.equal(matchAccounts(three, [seen(1), seen(2)], true, NOON).anomaly, null);
  });

  test('none at all is an anomaly where none was ever known', () => {
    for (const complete of [true, false])
      assert.deepEqual(matchAccounts([], [], complete, NOON).anomaly, { kind: 'no_accounts', lost: 0, known: 0 });
    // A statement file that was read before brings nothing.
    assert.equal(matchAccounts(stored, [], false, NOON).anomaly, null);
    // All of them are gone, and were believed to be.
    assert.equal(matchAccounts([known(1, { deletedAt: NOON })], [], true, NOON + HOUR_MS).anomaly, null);
  });

  test('so many at once are deleted when the list has said so for a weekend, and by no fewer than four lists', () => {
    const three = [known(1), known(2), known(3)];
    const seenAt = (hours: readonly number[], listed: (hour: number) => ObservedAccount[]) => {
      let accounts: readonly StoredAccount[] = three;
      const told: string[] = [];
      for (const hour of hours) {
        const { missing, matched, anomaly } = matchAccounts(accounts, listed(hour), true, NOON + hour * HOUR_MS);
        const found = new Set(matched.map((match) => match.stored.id));
        accounts = accounts.map((account) => {
          if (found.has(account.id)) return { ...account, absentSince: null, absences: 0 };
          const { absentSince, absences, deleted } = missing.find((entry) => entry.stored.id === account.id)!;
          return { ...account, absentSince, absences, deletedAt: deleted ? NOON + hour * HOUR_MS : null };
        });
        accounts = accounts.filter(({ deletedAt }) => deletedAt === null);
        told.push(`${hour}: ${accounts.length}${anomaly === null ? '' : ' anomaly'}`);
      }
      return told;
    };
    const closed = seenAt([0, 12, 24, 36, 48, 60, 72, 84], () => [seen(1)]);
    assert.deepEqual(closed.slice(-3), ['60: 3 anomaly', '72: 1', '84: 1']);
    assert.deepEqual(seenAt([0, 70, 90], () => [seen(1)]).at(-1), '90: 3 anomaly');
    assert.deepEqual(seenAt([0, 24, 48, 72], () => []).at(-1), '72: 0');
    // One list that has them in between begins the weekend again.
    const flapping = seenAt([0, 24, 48, 72, 96], (hour) => (hour === 48 ? [seen(1), seen(2), seen(3)] : []));
    assert.equal(flapping.at(-1), '96: 3 anomaly');
  });
});
