/** A million items beside a thousand: what finding the due ones costs, what refreshing costs, and how evenly a day's slots are spread. */
import { DAY_MS } from '../../src/base/clock.ts';
import { DUE_BATCH as DUE, dueItemsQuery } from '../../src/refresh/schedule/due.ts';
import { rulesFor } from '../../src/refresh/schedule/rules.ts';
import { spreadOverDay } from '../../src/refresh/schedule/slots.ts';
import type { RefreshServices } from '../../src/refresh/services.ts';
import { sql, sqlText } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { type Figure, median } from '../figures.ts';
import { benchBank } from './bank.ts';
import { APPLICATION, type Engine, FIRST_ITEM, itemsOf, oneRound, request, runAll, seed, servicesOf } from './place.ts';
import { USUAL } from './rates.ts';

const REFRESHED = 96;
const ROUNDS = 5;
const LOOKS = 200;
const RATIO_BELOW = 1.2;
/** One statement of PostgreSQL may take 30 s. */
const CHUNK = 50_000;
/** Long after everything that the worker of this benchmark asks for. */
const FIRST_DUE = Date.UTC(2100, 0, 1);
const NOW = FIRST_DUE + 1_000;
const LATER = FIRST_DUE + 10_000_000;

/** Two databases with the same work, looked at by turns: what else the machine does falls on both. */
export async function measureDue(engine: Engine, few: Storage, many: Storage, most: number): Promise<Figure[]> {
  const items = { few: 1_000, many: most };
  const sides = await Promise.all([furnish(engine, few, items.few), furnish(engine, many, items.many)]);
  const looks = await byTurns(sides, LOOKS, ({ storage }) => look(storage));
  const refreshing = await byTurns(sides, ROUNDS, async ({ services }) => (await oneRound(services, itemsOf(REFRESHED))).cpuMs);
  const beside = (what: string, [peer, value]: readonly [number, number], limit?: Figure['limit']): Figure => ({
    ...{ name: `${what} ${most.toLocaleString('en')} items, beside 1,000, ${engine}`, value, unit: 'ms', peer, ratio: value / peer },
    ...(limit ? { limit } : {}),
  });
  return [
    beside(`finding ${DUE} due ones of`, looks, { below: RATIO_BELOW }),
    beside('processor time of a refresh without changes among', refreshing),
  ];
}

type Side = { storage: Storage; services: RefreshServices };

/** The median of each side. */
async function byTurns([few, many]: readonly Side[], turns: number, measure: (side: Side) => Promise<number>): Promise<[number, number]> {
  const figures: [number[], number[]] = [[], []];
  for (let turn = 0; turn < turns; turn += 1) {
    figures[0].push(await measure(few!));
    figures[1].push(await measure(many!));
  }
  return [median(figures[0]), median(figures[1])];
}

async function furnish(engine: Engine, storage: Storage, items: number): Promise<Side> {
  const services = servicesOf(storage, benchBank(USUAL, Date.now()));
  const refreshed = itemsOf(REFRESHED);
  await seed(services, refreshed);
  for (let first = 1; first <= items; first += CHUNK) await add(storage, first, Math.min(items, first + CHUNK - 1));
  // As a database is that has grown slowly: what was written at once is else tidied while we measure.
  if (engine === 'postgres') for (const table of ['items', 'accounts']) await storage.all(sql`vacuum (analyze) ${sqlText(table)}`);
  await request(storage, refreshed, 'full');
  await runAll(services, REFRESHED);
  await oneRound(services, refreshed);
  return { storage, services };
}

/** The first hundred are due, the rest at moments to come, in no order; each has an account. */
async function add(storage: Storage, first: number, last: number): Promise<void> {
  await storage.transaction((tx) =>
    tx.run(sql`
      insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, due_at, created_at)
      with recursive numbers (n) as (select ${first} + 0 union all select n + 1 from numbers where n < ${last})
      select n, ${APPLICATION}, (select min(uuid) from users), 1, 0, 'none',
        case when n <= ${DUE} then cast(${FIRST_DUE} as bigint) + n else cast(${LATER} as bigint) + (cast(n as bigint) * 7919) % 1000003 end, 0
      from numbers`),
  );
  await storage.transaction((tx) =>
    tx.run(sql`
      insert into accounts (id, item_id, user_uuid, bank_id, name, type, currency, status, created_at, updated_at)
      select -id, id, user_uuid, bank_id, 'Account', 'checking', 'EUR', 0, 0, 0 from items where id between ${first} and ${last}`),
  );
}

async function look(storage: Storage): Promise<number> {
  const started = performance.now();
  const rows = await storage.all(dueItemsQuery(NOW));
  const tookMs = performance.now() - started;
  if (rows.length !== DUE) throw new Error(`${rows.length} items were found due instead of ${DUE}`);
  return tookMs;
}

/** The busiest and the quietest quarter of an hour of the bands, beside their mean. */
export function measureSpread(items: number): Figure[] {
  const ids = Array.from({ length: items }, (_, index) => FIRST_ITEM + index);
  const counts = spreadOverDay(ids, rulesFor(null, null), Math.floor(Date.now() / DAY_MS) * DAY_MS, 96).filter((count) => count > 0);
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const figure = (which: string, value: number, limit: Figure['limit']): Figure => ({
    name: `slots of ${items.toLocaleString('en')} items, ${which} quarter of an hour beside the mean`,
    value,
    unit: '',
    peer: mean,
    ratio: value / mean,
    ...(limit ? { limit } : {}),
  });
  return [figure('busiest', Math.max(...counts), { below: 1.2 }), figure('quietest', Math.min(...counts), { atLeast: 0.8 })];
}
