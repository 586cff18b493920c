/** Conformance: what every engine must do. Each test runs on both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine, migratedDatabase, openEngine } from '../../test/support/engines.ts';
import { openQuietWay } from '../../test/support/silence.ts';
import { createCounters } from './counters.ts';
import { migrate, migrations } from './migrate.ts';
import { openPostgres } from './postgres.ts';
import { render, type Sql, sql, sqlList, sqlTable, sqlText } from './sql.ts';
import { isDiskFull, isDuplicate, TransactionEnded, TransactionWaited, type Writer } from './storage.ts';

/** Long enough for a busy machine to answer, short enough to wait for. */
const SILENT_AFTER_MS = 1_000;

/** SQLite's rows have no prototype; what counts is their fields. */
async function plain<T extends object>(row: Promise<T | undefined>): Promise<T | undefined> {
  const found = await row;
  return found && { ...found };
}
async function listed<T extends object>(rows: Promise<T[]>): Promise<T[]> {
  return (await rows).map((row) => ({ ...row }));
}

eachEngine('storage', (open) => {
  test('binds every value, and parts of a statement compose', async (t) => {
    const storage = await open(t);
    const filter = sql`name = ${"it's; drop table counters --"}`;
    assert.deepEqual(
      await listed(storage.all(sql`select name from counters where ${filter} or name in ${sqlList(['items', 'accounts'])} order by name`)),
      [{ name: 'accounts' }, { name: 'items' }],
    );
    assert.deepEqual(await listed(storage.all(sql`select name from counters where name in ${sqlList([])}`)), []);
    // Of any length, with the value that fills it up to the length of its text.
    const all = Array.from({ length: 1_100 }, (_, at) => `list-${String(at).padStart(4, '0')}`);
    await storage.transaction((tx) =>
      tx.insertMany(
        'counters',
        ['name', 'value'],
        all.map((name) => [name, 0]),
      ),
    );
    for (const length of [1, 2, 3, 5, 1_023, 1_024, 1_025]) {
      const wanted = all.slice(0, length);
      const found = await storage.all<{ name: string }>(sql`select name from counters where name in ${sqlList(wanted)} order by name`);
      assert.deepEqual(
        found.map(({ name }) => name),
        wanted,
      );
      const others = await storage.all(sql`select name from counters where name like 'list-%' and name not in ${sqlList(wanted)}`);
      assert.equal(others.length, all.length - length);
    }
  });

  test('takes rows as a table: in their order, with nulls, any text and every number, and as one text of SQL', async (t) => {
    const storage = await open(t);
    const table = sqlTable({ name: 'text', amount: 'bigint' });
    const rows = [
      { name: `it's "{}" \\ é 😀\n`, amount: Number.MAX_SAFE_INTEGER },
      { name: '12', amount: -1 },
      { name: null, amount: null },
    ];
    const query = (these: typeof rows) => sql`select name, amount from ${table(these)} as given`;
    assert.deepEqual(await listed(storage.all(query(rows))), rows);
    for (const row of rows) assert.deepEqual(await listed(storage.all(query([row]))), [row]);
    assert.deepEqual(await listed(storage.all(query([]))), []);
    assert.equal(query(rows).key, query([]).key);
    assert.equal(query([rows[0]!]).key, query([rows[1]!]).key);
    const eleven = Array.from({ length: 11 }, (_, at) => ({ name: `${at}`, amount: at }));
    assert.deepEqual(await listed(storage.all(query(eleven))), eleven);
    // As what changes rows, too.
    const wanted = table([
      { name: 'items', amount: 7 },
      { name: 'nothing', amount: 8 },
    ]);
    const changed = await storage.transaction((tx) =>
      tx.all<{ value: number }>(
        sql`update counters set value = amount from ${wanted} as wanted where counters.name = wanted.name returning value`,
      ),
    );
    assert.deepEqual(
      changed.map(({ value }) => value),
      [7],
    );
  });

  test('reads 64-bit integers as numbers and keeps every one below 2^53', async (t) => {
    const storage = await open(t);
    await storage.transaction((tx) => tx.run(sql`update counters set value = ${Number.MAX_SAFE_INTEGER} where name = ${'items'}`));
    assert.deepEqual(await plain(storage.first(sql`select value from counters where name = ${'items'}`)), {
      value: Number.MAX_SAFE_INTEGER,
    });
  });

  test('takes a failing transaction back whole, and only that one', async (t) => {
    const storage = await open(t);
    const add = (name: string) => sql`insert into counters (name, value) values (${name}, 0)`;
    const results = await Promise.allSettled([
      storage.transaction((tx) => tx.run(add('first'))),
      storage.transaction(async (tx) => {
        await tx.run(add('second'));
        throw new Error('changed my mind');
      }),
      storage.transaction((tx) => tx.run(add('third'))),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    assert.deepEqual(
      await listed(storage.all(sql`select name from counters where name in ${sqlList(['first', 'second', 'third'])} order by name`)),
      [{ name: 'first' }, { name: 'third' }],
    );
  });

  test('a reader sees committed data only', async (t) => {
    const storage = await open(t);
    await storage.transaction(async (tx) => {
      await tx.run(sql`insert into counters (name, value) values ('unseen', 1)`);
      assert.equal(await storage.first(sql`select name from counters where name = 'unseen'`), undefined);
      assert.deepEqual(await plain(tx.first(sql`select value from counters where name = 'unseen'`)), { value: 1 });
    });
  });

  test('what is inserted last is there with the commit, and fails it', async (t) => {
    const storage = await open(t);
    const columns = ['name', 'value'];
    const insert = (name: string, then?: Error) =>
      storage.transaction(async (tx) => {
        await tx.run(sql`update counters set value = value + 1 where name = 'items'`);
        await tx.insertLast('counters', columns, [[name, 1]]);
        if (then) throw then;
        return name;
      });
    const before = await plain(storage.first<{ value: number }>(sql`select value from counters where name = 'items'`));
    assert.equal(await insert('last'), 'last');
    await assert.rejects(insert('last'), (error) => isDuplicate(error));
    await assert.rejects(insert('last', new Error('changed my mind')), (error) => isDuplicate(error) || /my mind/.test(String(error)));
    await assert.rejects(insert('another', new Error('changed my mind')), /changed my mind/);
    await storage.transaction((tx) => tx.insertLast('counters', columns, []));
    assert.equal(await insert('more'), 'more');
    assert.deepEqual(await plain(storage.first(sql`select value from counters where name = 'items'`)), { value: before!.value + 2 });
    assert.deepEqual(await listed(storage.all(sql`select name from counters where value = 1 order by name`)), [
      { name: 'last' },
      { name: 'more' },
    ]);
  });

  test('inserts many rows, and a conflict can be passed over', async (t) => {
    const storage = await open(t);
    const rows = Array.from({ length: 12_000 }, (_, index) => [`bulk ${index}`, index]);
    assert.equal(await storage.transaction((tx) => tx.insertMany('counters', ['name', 'value'], rows)), 12_000);
    assert.equal(
      await storage.transaction((tx) =>
        tx.insertMany('counters', ['name', 'value'], [...rows.slice(0, 5), ['one more', 1]], 'on conflict do nothing'),
      ),
      1,
    );
  });

  test('inserts values as they are, however they look', async (t) => {
    const storage = await open(t);
    const owners = ['', ' ', '"', '\\', '\\"', '{}', 'a,b', 'null', 'NULL', "it's", 'é\n\t€😀', '$1', null];
    const rows = owners.map((owner, index) => [1_000 + index, owner, index - 1, Number.MAX_SAFE_INTEGER, 0]);
    const columns = ['lane', 'owner', 'epoch', 'renewals', 'settled'];
    const read = () =>
      storage.all<{ owner: string | null; epoch: number }>(sql`select owner, epoch from lane_leases where lane >= 1000 order by lane`);
    await storage.transaction((tx) => tx.insertMany('lane_leases', columns, rows));
    assert.deepEqual(
      (await read()).map(({ owner }) => owner),
      owners,
    );
    const { renewals } = (await storage.first<{ renewals: number }>(sql`select renewals from lane_leases where lane = 1000`))!;
    assert.equal(renewals, Number.MAX_SAFE_INTEGER);
    const stray = (tx: Writer) => tx.insertMany('lane_leases', [...columns, 'colour'], [[2_000, null, 0, 0, 0, 'red']]);
    await assert.rejects(storage.transaction(stray), /colour/);
    const again = (tx: Writer) => tx.insertMany('lane_leases', columns, rows.slice(0, 1));
    assert.ok(isDuplicate(await storage.transaction(again).catch((error: unknown) => error)));
  });

  test('statements given at once run in the order in which they are given', async (t) => {
    const storage = await open(t);
    const put = (value: number) => (tx: Writer) => tx.insertMany('counters', ['name', 'value'], [['a', value]], 'on conflict do nothing');
    const raise = (value: number) => (tx: Writer) => tx.run(sql`update counters set value = value + ${value} where name = 'a'`);
    // PostgreSQL is asked for the types of a table before the first insertion into it.
    await storage.transaction((tx) => Promise.all([raise(1)(tx), put(10)(tx), raise(5)(tx), put(100)(tx)]));
    assert.deepEqual(await plain(storage.first(sql`select value from counters where name = 'a'`)), { value: 15 });
  });

  test('an insertion too large for one statement is whole before what is given after it', async (t) => {
    const storage = await open(t);
    const rows = Array.from({ length: 12_000 }, (_, at) => [`c${at}`, at]);
    const counted = (tx: Writer) => tx.first<{ n: number }>(sql`select count(*) as n from counters where name like 'c%'`);
    const [, many, first, last] = await storage.transaction((tx) =>
      Promise.all([
        tx.insertMany('counters', ['name', 'value'], [['c', 0]]),
        tx.insertMany('counters', ['name', 'value'], rows),
        counted(tx),
        tx.insertLast('counters', ['name', 'value'], [['c after', 0]]).then(() => counted(tx)),
      ]),
    );
    // The counters that every database has begin with another letter.
    assert.deepEqual([many, first!.n, last!.n], [12_000, 12_001, 12_002]);
  });

  for (const [what, fail] of [
    ['what was done', async () => Promise.reject(new Error('a rule of ours'))],
    ['an insertion that must ask', (tx: Writer) => tx.insertMany('counters', ['name', 'colour'], [['a', 'red']])],
    ['a statement', (tx: Writer) => tx.run(sql`insert into nowhere (name) values ('a')`)],
  ] as const) {
    test(`where ${what} fails, nothing of what a transaction does beside it is kept`, async (t) => {
      const storage = await open(t);
      const beside = async (tx: Writer) => {
        for (const name of ['c1', 'c2', 'c3', 'c4']) await tx.run(sql`insert into counters (name, value) values (${name}, 0)`);
      };
      let going: Promise<void> | undefined;
      const failing = storage.transaction((tx) => {
        const failed = fail(tx);
        going = beside(tx);
        return Promise.all([failed, going]);
      });
      await assert.rejects(failing);
      // Refused where it comes too late; where it was in time it went with the rest.
      await going?.catch(() => {});
      assert.deepEqual(await storage.all(sql`select name from counters where name like 'c%'`), []);
    });
  }

  test('one statement alone is a transaction of its own, and every statement is counted', async (t) => {
    const storage = await open(t);
    const before = storage.counts.statements;
    const row = await storage.alone.first<{ value: number }>(sql`update counters set value = 7 where name = 'items' returning value`);
    assert.equal(row?.value, 7);
    assert.equal(await storage.alone.run(sql`update counters set value = value + 1`), 3);
    await assert.rejects(storage.alone.run(sql`insert into counters (name, value) values ('items', 0)`));
    await storage.transaction((tx) => tx.run(sql`update counters set value = 0 where name = 'items'`));
    assert.equal((await storage.first<{ value: number }>(sql`select value from counters where name = 'items'`))?.value, 0);
    assert.equal(storage.counts.statements - before, 5);
  });

  test('counters never give an id twice, whoever asks at once', async (t) => {
    const storage = await open(t);
    const nodes = [createCounters(storage), createCounters(storage)];
    const sizes = Array.from({ length: 200 }, (_, index) => (index * 37) % 151);
    const blocks: number[][] = [];
    // In waves, so that some take from a block that is there while others wait for a new one.
    for (let wave = 0; wave < sizes.length; wave += 8) {
      const asked = sizes.slice(wave, wave + 8).map((size, index) => nodes[index % 2]!.reserve('accounts', size));
      blocks.push(...(await Promise.all(asked)));
    }
    assert.deepEqual(
      blocks.map(({ length }) => length),
      sizes,
    );
    const ids = blocks.flat();
    assert.equal(new Set(ids).size, ids.length);
  });

  test('those who need ids at once share one block', async (t) => {
    const storage = await open(t);
    const counters = createCounters(storage);
    const ids = (await Promise.all(Array.from({ length: 32 }, () => counters.reserve('transactions', 12)))).flat();
    assert.deepEqual(
      ids.map((id) => id - ids[0]!),
      Array.from({ length: 32 * 12 }, (_, index) => index),
    );
  });

  test('migrations are applied once, and a newer schema is refused', async (t) => {
    const storage = await open(t);
    assert.deepEqual(await migrate(storage, 0), []);
    const newest = migrations().at(-1)!.version;
    await storage.transaction((tx) => tx.run(sql`insert into migrations (version, name, applied_at) values (${newest + 1}, 'future', 0)`));
    await assert.rejects(migrate(storage, 0), /newer Pontage/);
  });

  test('a row lock is real text on the engine that needs it', async (t) => {
    const storage = await open(t);
    await storage.transaction((tx) => tx.all(sql`select name from counters order by name${storage.forUpdate}`));
    assert.equal(sqlText('a').values.length, 0);
  });
});

test('commits that need not wait for the disk are as whole and as visible as the others', async (t) => {
  const storage = await openEngine('sqlite', t);
  const add = (name: string, durable: boolean) =>
    storage.transaction((tx) => tx.run(sql`insert into counters (name, value) values (${name}, 1)`), { durable });
  await add('lazy', false);
  await Promise.all([add('with another', false), add('durable', true)]);
  const names = await storage.all<{ name: string }>(sql`select name from counters where value = 1 order by name`);
  assert.deepEqual(
    names.map(({ name }) => name),
    ['durable', 'lazy', 'with another'],
  );
  await assert.rejects(
    storage.transaction(async (tx) => tx.run(sql`insert into counters (name, value) values ('lazy', 2)`), { durable: false }),
  );
});

test('on PostgreSQL a commit that need not wait for the disk leaves the connection as it was', async (t) => {
  const storage = await openEngine('postgres', t);
  const synchronous = async (durable: boolean) =>
    (await storage.transaction((tx) => tx.first<{ synchronous_commit: string }>(sql`show synchronous_commit`), { durable }))!
      .synchronous_commit;
  // The server of the tests waits for no disk at all; the pool has one connection, because nothing is asked at once.
  await storage.transaction((tx) => tx.run(sql`set synchronous_commit = on`));
  assert.deepEqual([await synchronous(true), await synchronous(false), await synchronous(true)], ['on', 'off', 'on']);
});

test('on SQLite a disk that fills in the midst of a transaction takes all of it back, and what is done beside it', async (t) => {
  const storage = await openEngine('sqlite', t);
  const pages = await storage.first<{ page_count: number }>(sql`pragma page_count`);
  await storage.transaction((tx) => tx.first(sqlText(`pragma max_page_count = ${pages!.page_count + 10}`)));
  const rows = Array.from({ length: 50 }, (_, at) => [`${at} ${'x'.repeat(3_000)}`, 0]);
  const filling = storage.transaction((tx) =>
    Promise.all([
      tx.insertMany('counters', ['name', 'value'], rows),
      tx.run(sql`update counters set value = value + 1 where name = 'items'`),
      tx.run(sql`insert into counters (name, value) values ('beside', 1)`),
    ]),
  );
  await assert.rejects(filling, isDiskFull);
  const { value } = (await storage.first<{ value: number }>(sql`select sum(value) as value from counters`))!;
  assert.equal(await storage.first(sql`select name from counters where name = 'beside'`), undefined);
  await storage.transaction((tx) => tx.run(sql`update counters set value = value + 1 where name = 'items'`));
  assert.equal((await storage.first<{ value: number }>(sql`select sum(value) as value from counters`))!.value, value + 1, 'and it goes on');
});

test('on PostgreSQL the statement that failed is told, not one behind it', async (t) => {
  const storage = await openEngine('postgres', t);
  const deep = async (tx: Writer) => {
    await Promise.all([Promise.all([tx.insertMany('counters', ['name', 'value'], [['items', 1]])])]);
  };
  for (let time = 0; time < 5; time += 1) {
    const failing = storage.transaction(async (tx) => {
      await tx.first(sql`select value from counters`);
      const both = Promise.all([deep(tx), tx.run(sql`update counters set value = value`)]);
      // Both answers have come when this process looks at the first.
      setImmediate(() => {
        const until = performance.now() + 30;
        while (performance.now() < until);
      });
      await both;
    });
    await assert.rejects(failing, isDuplicate);
  }
});

test('on PostgreSQL a statement that was prepared before a column came is prepared again', async (t) => {
  const storage = await openEngine('postgres', t);
  await storage.transaction((tx) => tx.run(sql`create table shape (id bigint primary key)`));
  const look = () => storage.transaction((tx) => tx.all(sql`select * from shape where id = ${1} for update`));
  await look();
  await storage.alone.run(sql`alter table shape add column more bigint`);
  assert.deepEqual(await look(), []);
});

test('on PostgreSQL a transaction that makes light of a statement that failed is not taken for done', async (t) => {
  const storage = await openEngine('postgres', t);
  const light = storage.transaction(async (tx) => {
    await tx.run(sql`insert into counters (name, value) values ('before', 1)`);
    await tx.run(sql`insert into nowhere (name) values ('a')`).catch(() => {});
  });
  await assert.rejects(light, /all of it was taken back/);
  assert.equal(await storage.first(sql`select name from counters where name = 'before'`), undefined);
});

test('SQLite trips over a transaction that waits for a timer, and goes on', async (t) => {
  const storage = await openEngine('sqlite', t);
  let outlived = () => {};
  const ghost = new Promise<void>((resolve) => {
    outlived = resolve;
  });
  const waiting = storage.transaction(async (tx) => {
    await tx.run(sql`insert into counters (name, value) values ('late', 1)`);
    await new Promise((resolve) => setTimeout(resolve, 1));
    await assert.rejects(tx.run(sql`insert into counters (name, value) values ('ghost', 1)`), TransactionEnded);
    outlived();
  });
  await assert.rejects(waiting, TransactionWaited);
  await ghost;
  assert.equal(await storage.first(sql`select name from counters where name in ('late', 'ghost')`), undefined);
  await storage.transaction((tx) => tx.run(sql`insert into counters (name, value) values ('after', 1)`));
});

test('on PostgreSQL a read does not wait for its turn behind transactions', async (t) => {
  const storage = await openEngine('postgres', t);
  const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
  const transactions = Array.from({ length: 40 }, () => storage.transaction(() => held));
  try {
    assert.ok(await storage.first(sql`select name from counters limit 1`));
  } finally {
    letGo();
  }
  await Promise.all(transactions);
});

test('PostgreSQL may end a connection in the middle of a transaction: that one fails, and the next has another', async (t) => {
  const storage = await openEngine('postgres', t);
  await assert.rejects(
    storage.transaction(async (tx) => {
      const own = await tx.first<{ pid: number }>(sql`select pg_backend_pid() as pid`);
      await storage.all(sql`select pg_terminate_backend(${own!.pid})`);
      await tx.run(sql`insert into counters (name, value) values ('lost', 1)`);
    }),
  );
  assert.equal(await storage.first(sql`select name from counters where name = 'lost'`), undefined);
});

test('a PostgreSQL that goes without a word is given up: what waited for it fails, and what comes next has other connections', async (t) => {
  const target = await migratedDatabase();
  assert.ok('databaseUrl' in target);
  const way = await openQuietWay(t, target.databaseUrl);
  const storage = openPostgres(way.url, { silentAfterMs: SILENT_AFTER_MS });
  const lost = Promise.withResolvers<void>();
  const presence = storage.shared!.presence({ name: 'quiet', channel: 'quiet', onHint: () => {}, onLost: lost.resolve });
  t.after(async () => {
    await presence.close();
    await storage.close();
  });
  assert.ok(await presence.hold());
  const inserted = (name: string) => storage.transaction((tx) => tx.run(sql`insert into counters (name, value) values (${name}, 1)`));
  await inserted('before');
  await storage.all(sql`select name from counters`);

  way.fallSilent();
  await Promise.all([
    assert.rejects(inserted('lost'), /timeout/),
    assert.rejects(storage.all(sql`select name from counters`), /timeout/),
    lost.promise,
  ]);
  assert.equal(presence.held, false);

  await inserted('after');
  const rows = await listed(storage.all<{ name: string }>(sql`select name from counters where name in ('before', 'lost', 'after')`));
  assert.deepEqual(rows.map(({ name }) => name).sort(), ['after', 'before']);
});

test('on PostgreSQL a patient transaction outlasts every limit of a statement, and no other does', async (t) => {
  const target = await migratedDatabase();
  assert.ok('databaseUrl' in target);
  const storage = openPostgres(target.databaseUrl, { silentAfterMs: 100 });
  t.after(() => storage.close());
  const limit = (patient: boolean) =>
    storage.transaction(
      async (tx) => {
        await tx.first(sql`select pg_sleep(0.2)`);
        return (await tx.first<{ statement_timeout: string }>(sql`show statement_timeout`))!.statement_timeout;
      },
      { patient },
    );
  assert.equal(await limit(true), '0');
  await assert.rejects(limit(false), /timeout/);
});

test('a long chain of SQLite transactions leaves the event loop its turns', async (t) => {
  const storage = await openEngine('sqlite', t);
  let turns = 0;
  let ended = false;
  const turn = () => {
    turns += 1;
    if (!ended) setImmediate(turn);
  };
  setImmediate(turn);
  for (let index = 0; index < 300; index += 1) await storage.transaction((tx) => tx.run(sql`update counters set value = value + 1`));
  ended = true;
  assert.ok(turns > 1, `${turns} turns`);
});

test('a statement with constant parts is one text, by identity, and follows its parts when they change', () => {
  const columns = sql`id, name`;
  const form = (filter: Sql, limit: number) => sql`select ${columns} from t where ${filter} limit ${limit}`;
  const first = form(sql`a = ${1}`, 2);
  assert.deepEqual(first.values, [1, 2]);
  assert.equal(render(first, '$'), 'select id, name from t where a = $1 limit $2');
  const byName = (name: string) => form(sql`b = ${name} and c = ${null}`, 3);
  assert.equal(render(byName('x'), '$'), 'select id, name from t where b = $1 and c = $2 limit $3');
  assert.deepEqual(byName('y').values, ['y', null, 3]);
  assert.equal(byName('x').key, byName('y').key);
  assert.notEqual(byName('x').key, null);
  assert.equal(form(sqlText('a = 1'), 2).key, null);
  const among = (names: string[]) => sql`select value from counters where name in ${sqlList(names)}`;
  // Lists of up to a power of two share a text, and one does not push out another.
  assert.equal(among(['a', 'b', 'c']).key, among(['a', 'b', 'c', 'd']).key);
  assert.notEqual(among(['a']).key, among(['a', 'b']).key);
  const one = among(['a']).key;
  among(['a', 'b']);
  assert.equal(among(['z']).key, one);
  assert.equal(render(form(sqlText('a = 1'), 2), '?'), 'select id, name from t where a = 1 limit ?');
});
