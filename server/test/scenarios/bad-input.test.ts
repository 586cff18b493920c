/**
 * What banks answer on their worst days, through a whole refresh on both engines: the item ends in a documented status, the
 * rows stay what the bank says, asking again counts nothing, and no row is lost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findUserAccount } from '../../src/accounts/read.ts';
import { DAY_MS, HOUR_MS, isoDate } from '../../src/base/clock.ts';
import { type Money, money } from '../../src/base/money.ts';
import type { Connector, Fetched, Observation, ObservedAccount } from '../../src/connectors/connector.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { DRIVEN_BANK, drivenBank } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { createWorld, USER, type World } from '../support/world.ts';

const EUROS = (minor: number) => money(minor, 2, 'EUR');
const ROW: Observation = { status: 'booked', amount: EUROS(-250), bookingDate: '2026-02-20', rawText: 'CAFE', providerId: 'c1' };
const ACCOUNT: ObservedAccount = {
  identity: 'main',
  name: 'Compte courant',
  type: 'checking',
  currency: 'EUR',
  iban: null,
  isPro: false,
  loanDetails: null,
  savingsDetails: null,
  handle: '1',
};

/** A bank that answers what the test says; `replaced` are calls of its own. */
type Script = { accounts: ObservedAccount[]; rows: Observation[]; balance: Money | null; replaced: Partial<Connector> };

function scripted(script: Script): Connector {
  const connector: Connector = {
    bank: { ...drivenBank().connector.bank, access: { callsPerDay: null, loginsPerDay: null } },
    authenticate: (request, signal) =>
      script.replaced.authenticate?.(request, signal) ?? Promise.resolve({ kind: 'authenticated', session: null }),
    listAccounts: (request, signal) =>
      script.replaced.listAccounts?.(request, signal) ?? Promise.resolve({ kind: 'accounts', complete: true, accounts: script.accounts }),
    fetchAccount: (request, signal) => script.replaced.fetchAccount?.(request, signal) ?? Promise.resolve(fetched(script)),
  };
  return connector;
}

function fetched({ rows, balance }: Script): Fetched {
  const coverage = {
    windows: [{ from: '2026-01-01', to: '2026-03-31' }],
    bookedComplete: true,
    pendingComplete: true,
    scheduledComplete: true,
    edgeExclusive: false,
    historyComplete: true,
  };
  return {
    kind: 'fetched',
    batches: [{ observations: rows, coverage, balance: balance && { amount: balance, kind: 'booked', at: null } }],
  };
}

type StoredRow = { amount_minor: number; amount_exponent: number; currency: string; date: string; bank_description: string };

async function begin(storage: Storage, part: Partial<Script>) {
  const script: Script = { accounts: [ACCOUNT], rows: [ROW], balance: null, replaced: {}, ...part };
  const world = await createWorld(storage, [scripted(script)]);
  const itemId = await world.connect(DRIVEN_BANK, { USER: 'any', PWD: 'any' });
  return { script, world, itemId };
}

async function refresh(world: World, itemId: number): Promise<void> {
  world.clock.advance(7 * HOUR_MS);
  await refreshItem(world.services, itemId, 'api');
  await world.run();
}

const statusOf = async (storage: Storage, itemId: number) => {
  const item = await storage.first<{ status: number; status_code_info: string | null }>(
    sql`select status, status_code_info from items where id = ${itemId}`,
  );
  const open = await storage.first(sql`select id from refreshes where finished_at is null`);
  assert.equal(open, undefined, 'the refresh has ended');
  return [item!.status, item!.status_code_info];
};
const rowsOf = (storage: Storage) =>
  storage.all<StoredRow>(sql`
    select amount_minor, amount_exponent, currency, date, bank_description from transactions where is_deleted = 0 order by id`);
const counted = async (world: World) => (await world.events()).filter(({ type }) => type === 'item.account.updated').length;

/** Asked again, twice: nothing is counted any more. */
async function isQuiet(world: World, itemId: number): Promise<void> {
  const before = await counted(world);
  await refresh(world, itemId);
  await refresh(world, itemId);
  assert.equal(await counted(world), before);
}

const hang = () => new Promise<never>(() => {});
const rubbish = (answer: unknown) => () => Promise.resolve(answer as never);
const listing = (part: object) => rubbish({ kind: 'accounts', complete: true, accounts: [{ ...ACCOUNT, ...part }] });
const fetching = (part: object) =>
  rubbish(fetched({ accounts: [], rows: [{ ...ROW, ...part } as Observation], balance: null, replaced: {} }));
/** The list of rows as it should be, but for a part of itself. */
const fetchingList = (part: object) => {
  const { batches } = fetched({ accounts: [], rows: [ROW], balance: EUROS(1), replaced: {} });
  return rubbish({ kind: 'fetched', batches: [{ ...batches[0]!, ...part }] });
};
const challenging = (part: object, state: unknown = null) => {
  const challenge = { type: 'SMS', label: 'Code', description: null, isNumeric: true, lifetimeMs: 60_000, ...part };
  return rubbish({ kind: 'challenge', challenge, state });
};
const failing = (part: object) => rubbish({ kind: 'failed', status: 1007, info: null, ...part });
const LOAN = {
  ...{ next_payment_date: null, next_payment_amount: null, maturity_date: null, opening_date: null, interest_rate: null },
  ...{ type: null, borrowed_capital: null, repaid_capital: null, remaining_capital: null },
};
const SAVINGS = { opening_date: null, interest_rate: null, ceiling: null };
const BALANCE = { amount: EUROS(1), kind: 'booked', at: null };
const coverage = fetched({ accounts: [], rows: [], balance: null, replaced: {} }).batches[0]!.coverage;
const throwing = () => {
  throw new Error('a connector of somebody else');
};

const BROKEN: Readonly<Record<string, Partial<Connector>>> = {
  'throws at the login': { authenticate: throwing },
  'throws at the list': { listAccounts: async () => throwing() },
  'throws at an account': { fetchAccount: throwing },
  'answers the login with nothing': { authenticate: rubbish(undefined) },
  'answers the login with a word of its own': { authenticate: rubbish({ kind: 'perhaps' }) },
  'names a consent that ends at no moment': {
    authenticate: rubbish({ kind: 'authenticated', session: null, consentExpiresAt: Number.NaN }),
  },
  'fails with a status that nobody knows': { authenticate: rubbish({ kind: 'failed', status: 777, info: null }) },
  'fails with success': { listAccounts: rubbish({ kind: 'failed', status: 0, info: null }) },
  'asks for no time to be left in peace': {
    fetchAccount: rubbish({ kind: 'failed', status: 402, info: null, retryAfterMs: Number.NaN }),
  },
  'lists nothing': { listAccounts: rubbish({ kind: 'accounts', complete: true }) },
  'breaks its list off before the first account': { listAccounts: rubbish({ kind: 'accounts', complete: false, accounts: [] }) },
  'lists an account without a name': { listAccounts: listing({ name: null }) },
  'lists an account of a type that nobody knows': { listAccounts: listing({ type: 'wallet' }) },
  'lists an account without a currency': { listAccounts: listing({ currency: undefined }) },
  'answers an account with nothing': { fetchAccount: rubbish(null) },
  'answers amounts that are none': { fetchAccount: fetching({ amount: { minor: Number.NaN, exponent: 2, currency: 'EUR' } }) },
  'answers dates that are none': { fetchAccount: fetching({ bookingDate: '31/02/2026' }) },
  'answers ids that are no text': { fetchAccount: fetching({ providerId: 12 }) },
  'corrects nothing': { fetchAccount: fetching({ correction: null }) },
  'corrects in a way of its own': { fetchAccount: fetching({ correction: { action: 'undo', providerId: 'c1' } }) },
  'corrects a row without naming it': { fetchAccount: fetching({ correction: { action: 'delete' } }) },
  'sorts a row into a category of its own': { fetchAccount: fetching({ categoryId: 'food' }) },
  'sorts a row into half a category': { fetchAccount: fetching({ categoryId: 1.5 }) },
  'says of a row that it is perhaps shown': { fetchAccount: fetching({ showClientSide: 'perhaps' }) },
  'answers a date that is a list': { fetchAccount: fetching({ valueDate: ['2026-02-20'] }) },
  'answers a currency that is a list': { fetchAccount: fetching({ amount: { minor: 1, exponent: 2, currency: ['EUR'] } }) },
  'answers rows that are no list': { fetchAccount: fetchingList({ observations: new Set([ROW]) }) },
  'answers a balance of a kind that is none': { fetchAccount: fetchingList({ balance: { ...BALANCE, kind: null } }) },
  'answers a balance of a kind with NUL': { fetchAccount: fetchingList({ balance: { ...BALANCE, kind: 'book\0ed' } }) },
  "answers a balance in another currency than the account's": {
    fetchAccount: fetchingList({ balance: { ...BALANCE, amount: money(1, 2, 'BGN') } }),
  },
  'answers a balance of no day': { fetchAccount: fetchingList({ balance: { ...BALANCE, at: undefined } }) },
  'covers no dates': { fetchAccount: fetchingList({ coverage: { ...coverage, windows: null } }) },
  'does not say what is complete': { fetchAccount: fetchingList({ coverage: { ...coverage, historyComplete: 'yes' } }) },
  'fails with an info that is none': { fetchAccount: failing({ info: 12 }) },
  'fails an account with NUL in its info': { fetchAccount: failing({ info: 'DOWN\0' }) },
  'fails with NUL in its info': { authenticate: failing({ info: 'DOWN\0' }) },
  'fails without an info': { listAccounts: failing({ info: undefined }) },
  'fails with a status in letters': { listAccounts: failing({ status: '1007' }) },
  'lists accounts that are no list': { listAccounts: rubbish({ kind: 'accounts', complete: true, accounts: new Set([ACCOUNT]) }) },
  'lists an account of a type that is a list': { listAccounts: listing({ type: ['checking'] }) },
  'lists an account of nobody': { listAccounts: listing({ isPro: 'perhaps' }) },
  'lists a loan with no details at all': { listAccounts: listing({ loanDetails: undefined }) },
  'lists a loan that is no number': { listAccounts: listing({ loanDetails: { ...LOAN, borrowed_capital: 10n } }) },
  'lists a loan of infinite interest': { listAccounts: listing({ loanDetails: { ...LOAN, interest_rate: Number.POSITIVE_INFINITY } }) },
  'lists a loan that ends at no day': { listAccounts: listing({ loanDetails: { ...LOAN, maturity_date: 'soon' } }) },
  'lists savings of text': { listAccounts: listing({ savingsDetails: 'many' }) },
  'lists savings without a ceiling': { listAccounts: listing({ savingsDetails: { ...SAVINGS, ceiling: undefined } }) },
  'names a consent beyond any calendar': {
    authenticate: rubbish({ kind: 'authenticated', session: null, consentExpiresAt: Number.MAX_SAFE_INTEGER }),
  },
  'keeps what cannot be kept': { authenticate: rubbish({ kind: 'authenticated', session: null, keep: { count: 10n } }) },
  'challenges in a way of its own': { authenticate: challenging({ type: 'RIDDLE' }) },
  'challenges without a label': { authenticate: challenging({ label: null }) },
  'challenges for ever': { authenticate: challenging({ lifetimeMs: Number.POSITIVE_INFINITY }) },
  'challenges for a year': { authenticate: challenging({ lifetimeMs: 365 * 24 * HOUR_MS }) },
  'challenges and keeps what cannot be kept': { authenticate: challenging({}, () => {}) },
};

eachEngine('a connector', (open) => {
  test('that throws or answers rubbish leaves the item at 1003 with its rows, and heals', async (t) => {
    const storage = await open(t);
    const { script, world, itemId } = await begin(storage, {});
    const before = await rowsOf(storage);
    assert.equal(before.length, 1);
    for (const [what, replaced] of Object.entries(BROKEN)) {
      script.replaced = replaced;
      await refresh(world, itemId);
      assert.deepEqual(await statusOf(storage, itemId), [1003, 'CNT_CRASH'], what);
      assert.deepEqual(await rowsOf(storage), before, what);
      script.replaced = {};
      await refresh(world, itemId);
      assert.deepEqual(await statusOf(storage, itemId), [0, 'OK'], what);
    }
    assert.equal(await counted(world), 1, 'nothing was counted on the way');
  });

  test('that throws at the first connection ends it with 1003', async (t) => {
    const storage = await open(t);
    const { itemId } = await begin(storage, { replaced: { authenticate: rubbish('no') } });
    assert.deepEqual(await statusOf(storage, itemId), [1003, 'CNT_CRASH']);
  });

  test('that lists no account is not connected by it, and is when it lists one', async (t) => {
    const storage = await open(t);
    const connectedOnce = async () =>
      (await storage.first<{ connected_once: number }>(sql`select connected_once from items`))!.connected_once;
    const { script, world, itemId } = await begin(storage, { accounts: [] });
    assert.deepEqual([await statusOf(storage, itemId), await connectedOnce()], [[1003, 'CNT_CRASH'], 0]);
    script.accounts = [ACCOUNT];
    await refresh(world, itemId);
    assert.deepEqual([await statusOf(storage, itemId), await connectedOnce()], [[0, 'OK'], 1]);
    assert.equal((await rowsOf(storage)).length, 1);
  });

  for (const call of ['authenticate', 'listAccounts', 'fetchAccount'] as const) {
    test(`that hangs at ${call} is told to stop when its time is over, and the item shows 1003`, async (t) => {
      const storage = await open(t);
      const { script, world, itemId } = await begin(storage, {});
      t.mock.timers.enable({ apis: ['setTimeout'] });
      let stopped = false;
      script.replaced = {
        [call]: (_: unknown, signal: AbortSignal) => {
          signal.addEventListener('abort', () => {
            stopped = true;
          });
          // The limit of the call is set before it is made; two minutes are the longest of all.
          setImmediate(() => t.mock.timers.tick(2 * 60_000));
          return hang();
        },
      };
      await refresh(world, itemId);
      t.mock.timers.reset();
      assert.ok(stopped);
      assert.deepEqual(await statusOf(storage, itemId), [1003, 'CNT_CRASH']);
      assert.equal((await rowsOf(storage)).length, 1);
    });
  }
});

eachEngine('rows', (open) => {
  test('of no to four decimals, of yen and dinars, are stored to the unit', async (t) => {
    const amounts = [
      money(12_345, 0, 'JPY'),
      money(-1, 1, 'EUR'),
      money(12_345, 2, 'EUR'),
      money(12_345, 3, 'KWD'),
      money(-9_007_199_254_740_991, 4, 'EUR'),
    ];
    const storage = await open(t);
    const rows = amounts.map((amount, at) => ({ ...ROW, amount, providerId: `a${at}` }));
    const { world, itemId } = await begin(storage, { rows });
    const stored = await rowsOf(storage);
    const units = (amount: Money) => `${amount.minor}e-${amount.exponent} ${amount.currency}`;
    assert.deepEqual(
      stored.map((row) => units({ minor: row.amount_minor, exponent: row.amount_exponent, currency: row.currency })).toSorted(),
      amounts.map(units).toSorted(),
    );
    assert.deepEqual(await statusOf(storage, itemId), [0, 'OK']);
    await isQuiet(world, itemId);
  });

  test('with a balance beside them in another currency are kept without it', async (t) => {
    const storage = await open(t);
    await begin(storage, { rows: [{ ...ROW, balanceAfter: money(9_750, 2, 'USD') }] });
    assert.deepEqual(await storage.all(sql`select amount_minor, balance_after_minor from transactions`), [
      { amount_minor: -250, balance_after_minor: null },
    ]);
  });

  test('without dates, of 1900, and of years to come are kept, and counted once', async (t) => {
    const storage = await open(t);
    const { bookingDate: _, ...undated } = ROW;
    const rows = [
      { ...undated, providerId: 'd1' },
      { ...ROW, bookingDate: '1900-01-01', providerId: 'd2' },
      { ...ROW, bookingDate: '2999-12-31', providerId: 'd3' },
    ];
    const { world, itemId } = await begin(storage, { rows });
    assert.deepEqual((await rowsOf(storage)).map(({ date }) => date).toSorted(), ['1900-01-01', '2026-03-02', '2999-12-31']);
    assert.deepEqual(await statusOf(storage, itemId), [0, 'OK']);
    await isQuiet(world, itemId);
  });

  test('without dates that the bank goes on showing are the same rows after two months of daily looks', async (t) => {
    const storage = await open(t);
    const { bookingDate: _, ...undated } = ROW;
    const rows: Observation[] = [
      { ...undated, rawText: 'COTISATION' },
      { ...undated, rawText: 'COTISATION', providerId: 'c2' },
      { ...undated, status: 'pending', rawText: 'CAUTION', providerId: 'c3' },
    ];
    const lately = ({ now }: { now: number }): Promise<Fetched> => {
      const windows = [{ from: isoDate(now - 30 * DAY_MS), to: isoDate(now) }];
      const batch = { observations: rows, coverage: { ...coverage, windows, historyComplete: false }, balance: null };
      return Promise.resolve({ kind: 'fetched', batches: [batch] });
    };
    const { world, itemId } = await begin(storage, { replaced: { fetchAccount: lately } });
    const before = await rowsOf(storage);
    assert.deepEqual([before.length, await counted(world)], [3, 1]);
    for (let day = 0; day < 60; day += 1) {
      world.clock.advance(17 * HOUR_MS);
      await refresh(world, itemId);
    }
    assert.deepEqual([await counted(world), await rowsOf(storage)], [1, before]);
    assert.deepEqual(await statusOf(storage, itemId), [0, 'OK']);
  });

  test('with control characters, marks of direction, halves of characters and 10,000 characters are kept, and counted once', async (t) => {
    const storage = await open(t);
    const labels = ['NUL\0 BELL\u0007', 'RTL \u202E\u200Fevil', 'HALF \uD83D', 'x'.repeat(10_000), 'ref-'.repeat(2_500), ''];
    const rows = labels.map((rawText, at) => ({ ...ROW, amount: EUROS(-100 - at), rawText, providerId: `l${at}\0` }));
    const { world, itemId } = await begin(storage, { rows, accounts: [{ ...ACCOUNT, name: 'Compte\0 \uD83D' }] });
    assert.deepEqual((await rowsOf(storage)).map((row) => row.bank_description).toSorted(), [
      ...['NUL\uFFFD BELL\u0007', 'RTL \u202E\u200Fevil', 'HALF \uFFFD', 'x'.repeat(10_000), 'ref-'.repeat(2_500), ''].toSorted(),
    ]);
    assert.deepEqual(await statusOf(storage, itemId), [0, 'OK']);
    await isQuiet(world, itemId);
  });
});

eachEngine('a few rows with new ids at every answer', (open) => {
  test('teach that ids mean nothing here, and then are written no more', async (t) => {
    const storage = await open(t);
    const { script, world, itemId } = await begin(storage, {});
    const idOf = async () => (await storage.first<{ provider_id: string }>(sql`select provider_id from transactions`))!.provider_id;
    const ids: string[] = [];
    for (let look = 0; look < 12; look += 1) {
      script.rows = [{ ...ROW, providerId: `minted ${look}` }];
      await refresh(world, itemId);
      ids.push(await idOf());
    }
    assert.equal(ids.at(-1), ids.at(-3));
    assert.notEqual(ids[1], ids[0], 'believed at first');
    assert.equal(await counted(world), 1);
  });
});

eachEngine('accounts', (open) => {
  const idsOf = async (storage: Storage) =>
    (await storage.all<{ id: number }>(sql`select id from accounts where deleted_at is null order by id`)).map(({ id }) => id);
  const createdBy = async (world: World) => (await world.events()).filter(({ type }) => type === 'item.account.created').length;

  for (const [what, twins, expected] of [
    ['with one IBAN and different names', [{ name: 'Courant' }, { name: 'Livret' }], 2],
    ['with one IBAN and nothing to tell them apart', [{}, {}], 2],
    ['that the bank lists twice', [{ identity: 'same' }, { identity: 'same', handle: '2' }], 1],
  ] as const) {
    test(`${what} stay the same accounts`, async (t) => {
      const storage = await open(t);
      const base = { ...ACCOUNT, identity: null, iban: 'FR6914508000303386763591H62' };
      const { world, itemId } = await begin(storage, { accounts: twins.map((part) => ({ ...base, ...part })) });
      const ids = await idsOf(storage);
      assert.equal(ids.length, expected);
      await isQuiet(world, itemId);
      assert.deepEqual([await idsOf(storage), await createdBy(world)], [ids, expected]);
      assert.deepEqual(await statusOf(storage, itemId), [0, 'OK']);
      assert.equal((await rowsOf(storage)).length, expected);
    });
  }

  test('may have a balance of zero or less', async (t) => {
    const storage = await open(t);
    const { script, world, itemId } = await begin(storage, { balance: EUROS(-1) });
    script.rows = [...script.rows, { ...ROW, amount: EUROS(1), rawText: 'AVOIR', providerId: 'c2' }];
    script.balance = EUROS(0);
    await refresh(world, itemId);
    assert.deepEqual(await storage.first(sql`select balance_minor, status from accounts`), { balance_minor: 0, status: 0 });
    assert.deepEqual(await statusOf(storage, itemId), [0, 'OK']);
    await isQuiet(world, itemId);
  });
});

eachEngine('an account whose currency changes', (open) => {
  const inLeva = (minor: number) => money(minor, 2, 'BGN');
  const OLD = { ...ACCOUNT, currency: 'BGN' };
  const OLD_ROWS = Array.from(
    { length: 12 },
    (_, at): Observation => ({ ...ROW, amount: inLeva(-1_000 - at), rawText: `SHOP ${at}`, providerId: `s${at}` }),
  );
  const beginInLeva = (storage: Storage) => begin(storage, { accounts: [OLD], rows: OLD_ROWS, balance: inLeva(19_558) });
  const shown = async (storage: Storage) => {
    const { id } = (await storage.first<{ id: number }>(sql`select id from accounts`))!;
    const { currency, balance, status } = (await findUserAccount(storage, USER, id))!;
    return [currency, balance?.minor ?? null, status];
  };
  const updatesSince = async (world: World, from: number) =>
    (await world.events())
      .slice(from)
      .filter(({ type }) => type === 'item.account.updated')
      .map(({ content }) => JSON.parse(content) as Record<string, number>);

  test('follows the list of the bank: its balance moves once, and rows in the old currency stay as they are', async (t) => {
    const storage = await open(t);
    const { script, world, itemId } = await beginInLeva(storage);
    const [before, told] = [await rowsOf(storage), (await world.events()).length];
    Object.assign(script, { accounts: [ACCOUNT], balance: EUROS(10_000) });
    await refresh(world, itemId);
    assert.deepEqual(await shown(storage), ['EUR', 10_000, 0]);
    const updates = await updatesSince(world, told);
    const { nb_new_transactions, nb_updated_transactions, nb_deleted_transactions, balance } = updates[0]!;
    assert.deepEqual([updates.length, balance, nb_new_transactions, nb_updated_transactions, nb_deleted_transactions], [1, 100, 0, 0, 0]);
    await isQuiet(world, itemId);
    assert.deepEqual(await rowsOf(storage), before);
    assert.deepEqual(
      [await statusOf(storage, itemId), await shown(storage)],
      [
        [0, 'OK'],
        ['EUR', 10_000, 0],
      ],
    );
  });

  test('where the bank converts its rows too, has these in the end, each once', async (t) => {
    const storage = await open(t);
    const { script, world, itemId } = await beginInLeva(storage);
    const converted = OLD_ROWS.map((row) => ({ ...row, amount: EUROS(Math.round(row.amount.minor / 1.95583)) }));
    Object.assign(script, { accounts: [ACCOUNT], balance: EUROS(10_000), rows: converted });
    for (let look = 0; look < 6; look += 1) await refresh(world, itemId);
    const stored = await rowsOf(storage);
    assert.deepEqual(
      stored.map((row) => [row.amount_minor, row.currency]).toSorted(),
      converted.map(({ amount }) => [amount.minor, 'EUR']).toSorted(),
    );
    await isQuiet(world, itemId);
    assert.deepEqual(
      [await statusOf(storage, itemId), await shown(storage)],
      [
        [0, 'OK'],
        ['EUR', 10_000, 0],
      ],
    );
  });

  test('keeps its balance with the old one until the bank answers, and has none until the bank states it in the new one', async (t) => {
    const storage = await open(t);
    const { script, world, itemId } = await beginInLeva(storage);
    const told = (await world.events()).length;
    Object.assign(script, { accounts: [ACCOUNT], balance: null, replaced: { fetchAccount: failing({}) } });
    await refresh(world, itemId);
    assert.deepEqual(await shown(storage), ['BGN', 19_558, 1007]);
    script.replaced = {};
    await refresh(world, itemId);
    assert.deepEqual([await shown(storage), await updatesSince(world, told)], [['EUR', null, 0], []]);
    script.balance = EUROS(10_000);
    await refresh(world, itemId);
    assert.deepEqual([await shown(storage), (await updatesSince(world, told)).length], [['EUR', 10_000, 0], 1]);
    await isQuiet(world, itemId);
  });
});

eachEngine('an answer of 200,000 rows', (open) => {
  test('is stored whole, also where holds are recreated; one row more is refused, and nothing is lost', async (t) => {
    const storage = await open(t);
    const rows = Array.from({ length: 200_000 }, (_, at): Observation => ({ ...ROW, amount: EUROS(-1 - at), providerId: `m${at}` }));
    const { script, world, itemId } = await begin(storage, { rows: [{ ...ROW, status: 'pending', rawText: 'HOLD' }] });
    await storage.transaction((tx) => tx.run(sql`update applications set pending_transition = 'recreate'`));
    script.rows = [...rows.slice(1), { ...ROW, rawText: 'HOLD' }];
    await refresh(world, itemId);
    const live = async () =>
      Number((await storage.first<{ n: number }>(sql`select count(*) as n from transactions where is_deleted = 0`))!.n);
    assert.equal(await live(), 200_000);
    assert.deepEqual(await statusOf(storage, itemId), [0, 'OK']);
    const [last] = (await world.events()).filter(({ type }) => type === 'item.account.updated').slice(-1);
    const { nb_new_transactions, nb_deleted_transactions } = JSON.parse(last!.content) as Record<string, number>;
    assert.deepEqual([nb_new_transactions, nb_deleted_transactions], [200_000, 1]);
    script.rows = [...rows, ROW];
    await refresh(world, itemId);
    assert.deepEqual([await live(), ...(await statusOf(storage, itemId))], [200_000, 1003, 'CNT_CRASH']);
  });
});
