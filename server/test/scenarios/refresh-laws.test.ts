/** P8 and P10 of change detection, on the whole refresh: what crashes, and what comes at once, makes each event exactly once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/base/clock.ts';
import type { Connector } from '../../src/connectors/connector.ts';
import type { LoggedEvent } from '../../src/events/log.ts';
import { refreshItem } from '../../src/refresh/connection.ts';
import type { RefreshServices } from '../../src/refresh/services.ts';
import { runPass } from '../../src/refresh/worker.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { DRIVEN_BANK, drivenBank, type Payment } from '../support/driven-bank.ts';
import { eachEngine } from '../support/engines.ts';
import { APPLICATION, createWorld, type World } from '../support/world.ts';

const RUNS = 8;
/** A claim is over by then. */
const AFTER_ITS_CLAIM_MS = 11 * MINUTE_MS;

/** When a server dies over a refresh whose bank has answered, or is thought dead and goes on. */
const DEATHS = ['before_commit', 'inside_commit', 'after_commit', 'outlived'] as const;
type Death = (typeof DEATHS)[number];

const payment = fc.record({
  account: fc.constantFrom('first' as const, 'second' as const),
  minor: fc.constantFrom(-250, -250, -1_299, 5_000),
  label: fc.constantFrom('CAFE', 'CAFE', 'SUPERMARCHE'),
  daysAgo: fc.integer({ min: 0, max: 4 }),
  booksAfter: fc.option(fc.integer({ min: 0, max: 3 }), { nil: null }),
});
const day = fc.record({
  payments: fc.array(payment, { maxLength: 6 }),
  /** Each was taken back by the bank again. */
  takenBack: fc.nat({ max: 2 }),
  deaths: fc.array(fc.constantFrom(...DEATHS), { maxLength: 2 }),
});

type At = 'login' | 'list' | 'first' | 'second';

/** The driven bank, which nobody refreshes by himself; `on` is called in the middle of each call. */
function interruptible() {
  const { connector, payments } = drivenBank();
  const bank = {
    payments,
    logins: 0,
    on: async (_at: At, _login: string): Promise<void> => {},
    connector: {
      ...connector,
      bank: { ...connector.bank, unattended: false, access: { callsPerDay: null, loginsPerDay: 1_000 } },
      async authenticate(request, signal) {
        bank.logins += 1;
        await bank.on('login', request.credentials.USER!);
        return connector.authenticate(request, signal);
      },
      async listAccounts(request, signal) {
        await bank.on('list', String(request.session));
        return connector.listAccounts(request, signal);
      },
      async fetchAccount(request, signal) {
        const answer = await connector.fetchAccount(request, signal);
        await bank.on(request.account.handle as At, String(request.session));
        return answer;
      },
    } satisfies Connector,
  };
  return bank;
}

/** A server beside the world's own. Once it is dead it writes nothing any more, and hears of nothing. */
function mortal({ services }: World, death: Exclude<Death, 'outlived'>): { services: RefreshServices; dies(): void } {
  let dying = false;
  let dead = false;
  const { storage } = services;
  const transaction: Storage['transaction'] = async (work, options) => {
    if (dead) throw new Error('dead');
    if (!dying) return storage.transaction(work, options);
    dead = true;
    if (death === 'before_commit') throw new Error('dead');
    const result = await storage.transaction(async (tx) => {
      const done = await work(tx);
      if (death === 'inside_commit') throw new Error('dead');
      return done;
    }, options);
    if (death === 'after_commit') throw new Error('dead');
    return result;
  };
  return {
    services: { ...services, storage: { ...storage, transaction } },
    dies() {
      dying = true;
    },
  };
}

/** What a receiver can tell of an event, apart from whose it is and when. */
function told({ type, content }: LoggedEvent): string {
  const { item_id, account_id, user_uuid, ...rest } = JSON.parse(content) as Record<string, unknown>;
  return `${type} ${JSON.stringify(rest)}`;
}

async function rowsOf({ services: { storage } }: World, itemId: number): Promise<unknown[]> {
  return storage.all(sql`
    select a.identity, t.status, t.date, t.amount_minor, t.bank_description, t.is_deleted, t.missing
    from transactions t join accounts a on a.id = t.account_id where a.item_id = ${itemId}
    order by a.identity, t.date, t.amount_minor, t.bank_description, t.status, t.is_deleted, t.missing`);
}

const pass = (services: RefreshServices) => runPass(services, APPLICATION, new AbortController().signal);
const ask = ({ services }: World, itemId: number) => refreshItem(services, itemId, 'api');

eachEngine('laws of refreshes', (open) => {
  test('P8: servers that die between fetch and commit, or are outlived by their claim, make each event exactly once', async (t) => {
    const bank = interruptible();
    const world = await createWorld(await open(t), [bank.connector]);
    let pairs = 0;
    const nextMorning = () => world.clock.advance(DAY_MS - (world.clock.now() % DAY_MS) + 8 * HOUR_MS);

    const refreshThrough = async (itemId: number, login: string, deaths: readonly Death[]) => {
      assert.ok(await ask(world, itemId));
      for (const death of deaths) {
        if (death === 'outlived') {
          bank.on = async (at, who) => {
            if (at !== 'second' || who !== login) return;
            bank.on = async () => {};
            world.clock.advance(AFTER_ITS_CLAIM_MS);
            await pass(world.services);
          };
          await pass(world.services);
        } else {
          const server = mortal(world, death);
          bank.on = async (at, who) => {
            if (at === 'second' && who === login) server.dies();
          };
          await pass(server.services);
        }
        bank.on = async () => {};
        world.clock.advance(AFTER_ITS_CLAIM_MS);
      }
      await world.run();
    };

    await fc.assert(
      fc.asyncProperty(fc.array(day, { minLength: 1, maxLength: 4 }), async (days) => {
        pairs += 1;
        const [login, twinLogin] = [`doomed ${pairs}`, `twin ${pairs}`];
        const add = (made: Payment) => {
          bank.payments(login).push(made);
          bank.payments(twinLogin).push(made);
        };
        nextMorning();
        const itemId = await world.connect(DRIVEN_BANK, { USER: login, PWD: 'any' });
        const twinId = await world.connect(DRIVEN_BANK, { USER: twinLogin, PWD: 'any' });
        for (const { payments, takenBack, deaths } of days) {
          nextMorning();
          const today = Math.floor(world.clock.now() / DAY_MS);
          for (const { account, minor, label, daysAgo, booksAfter } of payments)
            add({ account, minor, label, day: today - daysAgo, bookedOn: booksAfter === null ? null : today - daysAgo + booksAfter });
          // Its place is kept: the ids of this bank are places.
          for (const shown of [bank.payments(login), bank.payments(twinLogin)])
            for (const [at, made] of shown.slice(0, takenBack).entries()) shown[at] = { ...made, day: today - 90, bookedOn: null };
          const before = (await world.events()).length;
          await refreshThrough(itemId, login, deaths);
          assert.ok(await ask(world, twinId));
          await world.run();
          const events = (await world.events()).slice(before);
          const of = (id: number) => events.filter((event) => event.itemId === id).map(told);
          assert.deepEqual(of(itemId), of(twinId));
          assert.equal(of(itemId).filter((text) => text.startsWith('item.refreshed')).length, 1);
          assert.deepEqual(await rowsOf(world, itemId), await rowsOf(world, twinId));
        }
      }),
      { numRuns: RUNS },
    );
  });

  test('P10: refreshes of one item that are asked for at once, by whomever, are one, and never two at the bank', async (t) => {
    const bank = interruptible();
    const world = await createWorld(await open(t), [bank.connector]);
    const login = 'somebody';
    const itemId = await world.connect(DRIVEN_BANK, { USER: login, PWD: 'any' });
    const wishes = fc.array(fc.constantFrom('api' as const, 'connect' as const), { minLength: 1, maxLength: 3 });
    const intrusion = fc.record({ wishes: fc.option(wishes, { nil: [] }), passes: fc.nat({ max: 2 }) });
    const visit = fc.record({
      ahead: wishes,
      servers: fc.integer({ min: 1, max: 3 }),
      login: intrusion,
      first: intrusion,
      second: intrusion,
    });

    await fc.assert(
      fc.asyncProperty(visit, async ({ ahead, servers, ...during }) => {
        // The history that a user's visit is owed follows at once; it is not what is looked at here.
        await world.run();
        world.clock.advance(12 * HOUR_MS);
        await world.run();
        const today = Math.floor(world.clock.now() / DAY_MS);
        bank.payments(login).push({ account: 'first', day: today, minor: -700 - today, label: 'SHOP', bookedOn: today });
        const before = (await world.events()).length;
        const loginsBefore = bank.logins;
        const wish = (causes: readonly ('api' | 'connect')[]) =>
          Promise.all(causes.map(async (cause) => (await refreshItem(world.services, itemId, cause))!.refreshId));
        const joined = await wish(ahead);
        let claimedTwice = 0;
        const met = new Set<At>();
        bank.on = async (at) => {
          if (at === 'list' || met.has(at)) return;
          met.add(at);
          const { wishes: more, passes } = during[at];
          const [ids, ...claims] = await Promise.all([wish(more), ...Array.from({ length: passes }, () => pass(world.services))]);
          joined.push(...ids);
          for (const claimed of claims) claimedTwice += claimed;
        };
        await Promise.all(Array.from({ length: servers }, () => pass(world.services)));
        bank.on = async () => {};

        assert.equal(new Set(joined).size, 1);
        assert.deepEqual([claimedTwice, bank.logins - loginsBefore], [0, 1]);
        const events = (await world.events()).slice(before);
        assert.deepEqual(
          events.map(({ type, refreshId }) => [type, refreshId]),
          ['item.account.updated', 'item.refreshed'].map((type) => [type, joined[0]]),
        );
        // What comes after it has nothing left to find.
        const settled = (await world.events()).length;
        await ask(world, itemId);
        world.clock.advance(5_000);
        await world.run();
        const later = (await world.events()).slice(settled);
        assert.deepEqual([...new Set(later.map(({ type }) => type))], ['item.refreshed']);
      }),
      { numRuns: RUNS },
    );
  });
});
