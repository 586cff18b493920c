/** What is due among many items: the cost of finding it, and how evenly a day's slots are spread. */
import { DAY_MS } from '../../src/base/clock.ts';
import { dueItemsQuery } from '../../src/refresh/schedule/due.ts';
import { rulesFor } from '../../src/refresh/schedule/rules.ts';
import { spreadOverDay } from '../../src/refresh/schedule/slots.ts';
import { sql } from '../../src/storage/sql.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { type Figure, median } from '../figures.ts';
import { benchBank } from './bank.ts';
import { APPLICATION, type Engine, FIRST_ITEM, seed, servicesOf } from './place.ts';
import { USUAL } from './rates.ts';

const DUE = 100;
const LOOKS = 200;
const RATIO_BELOW = 1.2;
/** One statement of PostgreSQL may take 30 s. */
const CHUNK = 50_000;
const NOW = 1_000;
const LATER = 10_000_000;

export async function measureDue(engine: Engine, storage: Storage, most: number): Promise<Figure[]> {
  await seed(servicesOf(storage, benchBank(USUAL, Date.now())), [FIRST_ITEM]);
  await add(storage, 1, 1_000);
  const few = await look(storage);
  for (let first = 1_001; first <= most; first += CHUNK) await add(storage, first, Math.min(most, first + CHUNK - 1));
  if (engine === 'postgres') await storage.all(sql`select pg_stat_force_next_flush()`);
  const many = await look(storage);
  return [
    {
      name: `finding ${DUE} due items of ${most.toLocaleString('en')}, beside 1,000, ${engine}`,
      value: many,
      unit: 'ms',
      peer: few,
      ratio: many / few,
      limit: { below: RATIO_BELOW },
    },
  ];
}

/** The first hundred are due, the rest at moments to come, in no order. */
async function add(storage: Storage, first: number, last: number): Promise<void> {
  await storage.transaction((tx) =>
    tx.run(sql`
      insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, due_at, created_at)
      with recursive numbers (n) as (select ${first} + 0 union all select n + 1 from numbers where n < ${last})
      select n, ${APPLICATION}, (select min(uuid) from users), 1, 0, 'none',
        case when n <= ${DUE} then n else ${LATER} + (n * 7919) % 1000003 end, 0
      from numbers`),
  );
}

async function look(storage: Storage): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < LOOKS; count += 1) {
    const started = performance.now();
    const rows = await storage.all(dueItemsQuery(NOW, DUE));
    times.push(performance.now() - started);
    if (rows.length !== DUE) throw new Error(`${rows.length} items were found due instead of ${DUE}`);
  }
  return median(times);
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
