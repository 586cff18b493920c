/** The command line as it is used: real processes on a data folder of their own, beside a server that runs. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { verify } from '@pontage/sdk';
import type { Command } from 'commander';
import { createProgram } from '../../src/cli/program.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const KEY = 'Zt1c9mB0qkVxX3yQ8n5rLw2sHd7uJfGa';
const root = mkdtempSync(join(tmpdir(), 'pontage-cli-'));
/** That of the whole suite, where there is one: some fifty processes are started here, and compiling takes each half of its time. */
const COMPILED = process.env.NODE_COMPILE_CACHE ?? join(root, 'compiled');
after(() => rmSync(root, { recursive: true, force: true, maxRetries: 5 }));

type Environment = Record<string, string>;
type Ended = { code: number | null; stdout: string; stderr: string };

function start(args: readonly string[], environment: Environment): ChildProcess {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:PONTAGE_|DATABASE_URL$|NODE_TEST)/.test(name)));
  return spawn(process.execPath, [MAIN, ...args], {
    env: { ...inherited, NODE_COMPILE_CACHE: COMPILED, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function run(args: readonly string[], environment: Environment): Promise<Ended> {
  const child = start(args, environment);
  const ended = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk) => {
    ended.stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    ended.stderr += chunk;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...ended };
}

/** The one line of JSON of a command that succeeds. */
async function json<T = Record<string, string>>(args: readonly string[], environment: Environment): Promise<T> {
  const ended = await run([...args, '--json'], environment);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout) as T;
}

type Server = { child: ChildProcess; ready: Record<string, string>; stop(signal?: NodeJS.Signals): Promise<number | null> };

/** Waits for the line that a server prints when it answers. */
async function server(command: 'dev' | 'serve', environment: Environment): Promise<Server> {
  const child = start([command, '--json'], environment);
  let errors = '';
  child.stderr?.on('data', (chunk) => {
    errors += chunk;
  });
  const line = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
      if (text.includes('\n')) resolve(text);
    });
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${errors}`)));
  });
  return {
    child,
    ready: JSON.parse(line) as Record<string, string>,
    async stop(signal = 'SIGTERM') {
      const ended = once(child, 'exit');
      child.kill(signal);
      const [code] = (await ended) as [number | null];
      return code;
    },
  };
}

function folder(name: string): Environment {
  return { PONTAGE_DATA_DIR: join(root, name), PONTAGE_PORT: '0' };
}

type Arrival = { body: Buffer; headers: IncomingHttpHeaders };

async function receiver() {
  const arrivals: Arrival[] = [];
  const waiting: (() => void)[] = [];
  const http = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    response.end();
    arrivals.push({ body, headers: request.headers });
    for (const wake of waiting.splice(0)) wake();
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/webhooks`,
    async arrival(index: number): Promise<Arrival> {
      for (;;) {
        const found = arrivals[index];
        if (found) return found;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
    close() {
      http.closeAllConnections();
      http.close();
    },
  };
}

const COMMANDS = [
  'dev',
  'serve',
  'demo',
  'migrate',
  'backup',
  'restore',
  'doctor',
  'audit',
  'app create',
  'app list',
  'app rotate-secret',
  'app update',
  'webhook create',
  'webhook list',
  'webhook show',
  'webhook deliveries',
  'webhook update',
  'webhook delete',
  'webhook rotate-secret',
  'webhook test',
  'event list',
  'event show',
  'refresh explain',
  'refresh list',
  'refresh start',
  'account release',
  'event resend',
  'attempt list',
  'replay start',
  'replay list',
  'replay show',
  'replay pause',
  'replay resume',
  'replay cancel',
  'scenario list',
  'scenario run',
  'scenario schema',
  'clock advance',
  'clock show',
  'clock to',
  'key rotate',
];

test('every command has help with an example', async () => {
  const names = (command: Command): string[] =>
    command.commands.length === 0
      ? [command.name()]
      : command.commands.flatMap((each) => names(each).map((name) => `${command.name()} ${name}`));
  const program = createProgram();
  const leaves = program.commands.flatMap(names);
  assert.deepEqual(leaves.sort(), COMMANDS.toSorted());
  for (const words of COMMANDS) {
    const command = words.split(' ').reduce((parent, word) => parent.commands.find((each) => each.name() === word) ?? parent, program);
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    assert.match(help, /--json/, words);
    assert.match(help, new RegExp(`Example:\\n {2}\\$ npx pontage ${words}`), words);
  }
  const ended = await run(['--help'], {});
  assert.equal(ended.code, 0);
  assert.match(ended.stdout, /webhook/);
});

test('wrong usage exits 2, failures 1, each with a sentence and without a stack trace', async () => {
  const environment = folder('usage');
  const cases: [string[], Environment, number, RegExp][] = [
    [['nonsense'], environment, 2, /unknown command/],
    [['app', 'create'], environment, 2, /--name/],
    [['app', 'create', '--name', 'x', '--environment', 'moon'], environment, 2, /sandbox, production/],
    [['clock', 'advance', 'soon'], environment, 2, /no duration/],
    [['clock', 'advance', '1d', '--deliveries'], environment, 2, /need a running server/],
    [['app', 'rotate-secret', 'nobody'], environment, 1, /no application nobody/],
    [['webhook', 'delete', 'wh_none'], environment, 1, /no webhook wh_none/],
    [['webhook', 'show', 'wh_none'], environment, 1, /no webhook wh_none/],
    [['webhook', 'deliveries', 'wh_none'], environment, 1, /no webhook wh_none/],
    [['webhook', 'deliveries', 'wh_none', '--state', 'lost'], environment, 2, /"lost" must be retry, waiting, dead/],
    [['webhook', 'deliveries', 'wh_none', '--limit', '0'], environment, 2, /--limit must be a number from 1 to 1000/],
    [['webhook', 'update', 'wh_none', '--deadline', 'soon'], environment, 2, /no duration/],
    [['webhook', 'update', 'wh_none', '--header', 'secret'], environment, 2, /Name: value/],
    [['webhook', 'update', 'wh_none', '--client-certificate', 'a.pem'], environment, 2, /together/],
    [['webhook', 'update', 'wh_none', '--enable', '--from', 'then'], environment, 2, /where_it_stopped or now/],
    [['webhook', 'update', 'wh_none', '--encryption', 'package.json'], environment, 2, /public JWK/],
    [['webhook', 'rotate-secret', 'wh_none', '--overlap', '8d'], environment, 2, /0s to 7d/],
    [['event', 'show', 'evt_none'], environment, 1, /no event evt_none/],
    [['replay', 'start', '--webhook', 'wh_none'], environment, 2, /--dead, or a range/],
    [['replay', 'start', '--webhook', 'wh_none', '--dead'], environment, 1, /no webhook wh_none/],
    [['account', 'release', 'mine'], environment, 2, /no id of an account/],
    [['account', 'release', '1'], environment, 1, /no account 1/],
    [['replay', 'show', 'rpl_none'], environment, 1, /no replay rpl_none/],
    [['attempt', 'list', '--outcome', 'well'], environment, 2, /delivered or failed/],
    [['attempt', 'list', '--since', 'soon'], environment, 2, /how long ago/],
    [['attempt', 'list', '--since', '1h', '--until', '2h'], environment, 2, /later than --since/],
    [['attempt', 'list', '--type', 'nonsense'], environment, 2, /no event type "nonsense"/],
    [['replay', 'start', '--webhook', 'wh_none', '--since', '1h', '--until', '2h'], environment, 2, /later than --since/],
    [['serve'], environment, 1, /PONTAGE_SECRET_KEY is not set[\s\S]*PONTAGE_PUBLIC_URL is not set/],
    [['doctor'], { ...environment, PONTAGE_PROT: '1' }, 1, /did you mean PONTAGE_PORT/],
    [['backup', 'x.db'], { ...environment, DATABASE_URL: 'postgres://localhost/none' }, 2, /pg_dump/],
  ];
  await Promise.all(
    cases.map(async ([args, env, code, sentence]) => {
      const ended = await run(args, env);
      const said = ended.stderr + ended.stdout;
      assert.equal(ended.code, code, `${args.join(' ')}: ${said}`);
      assert.match(said, sentence);
      assert.doesNotMatch(said, /\n\s+at .*:\d+:\d+/);
    }),
  );
});

test('a refresh is asked for from the command line, also of the whole history, and one that is open is joined', async () => {
  const environment = { ...folder('refresh'), PONTAGE_SECRET_KEY: KEY };
  const app = await json(['app', 'create', '--name', 'Mine', '--environment', 'sandbox'], environment);
  const database = new DatabaseSync(join(root, 'refresh', 'pontage.db'));
  database.exec(`
    insert into users (uuid, application_id, created_at) values ('u', '${app.id}', 0);
    insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, connected_once, created_at)
    values (7, '${app.id}', 'u', 574, 0, 'k', 1, 0), (8, '${app.id}', 'u', 9001, 0, 'k', 1, 0)`);
  database.close();
  const asked = await json<{ refresh_id: string }>(['refresh', 'start', '--item', '7'], environment);
  assert.deepEqual(asked, { refresh_id: asked.refresh_id, phase: 'incremental', joined: false });
  const joined = await run(['refresh', 'start', '--item', '7', '--full'], environment);
  assert.match(
    joined.stdout,
    new RegExp(`${asked.refresh_id} \\(incremental\\) is under way already; the next one asks for the whole history`),
  );
  const refused = await run(['refresh', 'start', '--item', '8', '--full'], environment);
  assert.deepEqual([refused.code, /Statement files are read once/.test(refused.stderr)], [1, true], refused.stderr);
  assert.match((await run(['refresh', 'start', '--item', '9'], environment)).stderr, /There is no item 9/);
});

test('refreshes are listed with their counts, for people and for programs', async () => {
  const environment = { ...folder('refreshes'), PONTAGE_SECRET_KEY: KEY };
  const app = await json(['app', 'create', '--name', 'Mine', '--environment', 'sandbox'], environment);
  const account = (held: object) => ({ new: 3, updated: 2, deleted: 1, held });
  const record = JSON.stringify({ calls: 4, accounts: [account({ first_absence: 5, mass_deletion: 2 }), account({})] });
  const database = new DatabaseSync(join(root, 'refreshes', 'pontage.db'));
  database.exec(`
    insert into users (uuid, application_id, created_at) values ('u', '${app.id}', 0);
    insert into items (id, application_id, user_uuid, bank_id, status, data_key_id, connected_once, created_at)
    values (7, '${app.id}', 'u', 574, 0, 'k', 1, 0)`);
  database.close();
  const { refresh_id: id } = await json<{ refresh_id: string }>(['refresh', 'start', '--item', '7'], environment);
  const list = () => json<Record<string, unknown>[]>(['refresh', 'list', '--item', '7'], environment);
  const counts = ({ bank_calls, ...shown }: Record<string, unknown>) => [
    bank_calls,
    ...['new', 'updated', 'deleted', 'held'].map((count) => shown[`nb_${count}_transactions`]),
  ];
  assert.deepEqual((await list()).map(counts), [[null, 0, 0, 0, 0]]);
  const again = new DatabaseSync(join(root, 'refreshes', 'pontage.db'));
  again.exec(`update refreshes set state = 'finished', status = 0, finished_at = started_at + 1, record = '${record}'`);
  again.close();
  assert.deepEqual((await list()).map(counts), [[4, 6, 4, 2, 7]]);
  assert.match((await run(['refresh', 'list', '--item', '7'], environment)).stdout, new RegExp(`${id} .* 6 +4 +2 +7\\n`));
});

test('commands beside a running server take effect, and a webhook arrives signed with the old and the new secret', async () => {
  const environment = folder('beside');
  const running = await server('dev', environment);
  const target = await receiver();
  try {
    const app = await json(
      ['app', 'create', '--name', 'Mine', '--environment', 'sandbox', '--redirect-url', 'http://localhost:3000/back'],
      environment,
    );
    assert.deepEqual(Object.keys(app), ['id', 'client_id', 'client_secret']);
    const webhook = await json(
      ['webhook', 'create', '--app', app.client_id ?? '', '--url', target.url, '--name', 'Mine', '--events', 'item.created,item.refreshed'],
      environment,
    );
    assert.deepEqual(Object.keys(webhook), ['id', 'secret']);
    const id = webhook.id ?? '';

    const headers = { 'bridge-version': '2021-06-01', 'client-id': app.client_id ?? '', 'client-secret': app.client_secret ?? '' };
    assert.equal((await fetch(`${running.ready.url}/v2/banks`, { headers })).status, 200);

    await json(['webhook', 'test', id], environment);
    const first = await target.arrival(0);
    assert.equal(verify(first.body, first.headers, webhook.secret ?? '', { requireTimestamp: true }).type, 'TEST_EVENT');

    const settings = [
      '--deadline',
      '5s',
      '--retry-delays',
      '5s,1m',
      '--rate',
      '20',
      '--header',
      'X-Api-Key: of the gateway',
      'X-Tenant: 7',
    ];
    await json(['webhook', 'update', id, '--ordering', 'none', ...settings], environment);
    const shown = await run(['webhook', 'show', id], environment);
    assert.match(shown.stdout, /Deadline +5s\n +Retries after +5s, 1m\n[\s\S]*Headers +X-Api-Key, X-Tenant\n/);
    assert.doesNotMatch(shown.stdout, /of the gateway/);
    const rotated = await json(['webhook', 'rotate-secret', id], environment);
    const { event_id: eventId } = await json(['webhook', 'test', id], environment);
    const second = await target.arrival(1);
    for (const secret of [webhook.secret, rotated.secret]) verify(second.body, second.headers, secret ?? '');

    assert.equal(second.headers['webhook-id'], eventId);
    const attemptsOf = `${running.ready.url}/api/v1/attempts?webhook_id=${id}&type=TEST_EVENT`;
    let attempts: { event_id: string; outcome: string; timings: { total_ms: number } }[] = [];
    // An attempt is written some milliseconds after the receiver has answered.
    while (attempts.length < 2)
      attempts = ((await (await fetch(attemptsOf, { headers })).json()) as { attempts: typeof attempts }).attempts;
    assert.deepEqual([attempts[0]?.event_id, attempts[0]?.outcome], [eventId, 'delivered']);
    const list = await run(
      ['attempt', 'list', '--app', app.client_id ?? '', '--webhook', id, '--since', '1h', '--limit', '1'],
      environment,
    );
    assert.match(list.stdout, new RegExp(`^\\S+Z  ${eventId}  TEST_EVENT  to ${id}  test 1  200  delivered  \\d+ ms.*\n$`));
    assert.deepEqual(await json(['attempt', 'list', '--app', app.client_id ?? '', '--webhook', id], environment), attempts);
    const asked = async (path: string) => (await (await fetch(`${running.ready.url}/api/v1/${path}`, { headers })).json()) as object;
    assert.deepEqual(await json(['event', 'show', eventId ?? ''], environment), await asked(`events/${eventId}`));
    const shownByApi = await asked(`webhooks/${id}`);
    assert.deepEqual(await json(['webhook', 'show', id], environment), { client_id: app.client_id, ...shownByApi });
    assert.match((await run(['webhook', 'show', id], environment)).stdout, /Circuit +closed\n +Last success +\S+Z\n/);
    assert.match((await run(['event', 'show', eventId ?? ''], environment)).stdout, /test 1 {2}200 {2}delivered/);

    const replayed = await json(['event', 'resend', eventId ?? '', '--webhook', id], environment);
    const third = await target.arrival(2);
    assert.deepEqual([third.headers['webhook-id'], third.body], [eventId, second.body]);
    const replayIs = async () =>
      ((await (await fetch(`${running.ready.url}/api/v1/replays/${replayed.id}`, { headers })).json()) as { state: string }).state;
    while ((await replayIs()) !== 'done');
    assert.match(
      (await run(['replay', 'show', replayed.id ?? ''], environment)).stdout,
      /is done: 1 of 1 sent[\s\S]*1 delivered, 0 given up/,
    );

    const moved = await json<{ applications: { client_id: string }[]; deliveries: object }>(
      ['clock', 'advance', '1d', '--deliveries', '--app', app.client_id ?? ''],
      environment,
    );
    assert.deepEqual(
      [moved.applications.map(({ client_id }) => client_id), moved.deliveries],
      [[app.client_id], { attempts: 0, delivered: 0, waiting: 0, dead: 0 }],
    );

    const updated = await json<{ enabled: boolean; events: string[] }>(
      ['webhook', 'update', id, '--events', 'item.refreshed', '--disable'],
      environment,
    );
    assert.deepEqual([updated.enabled, updated.events], [false, ['item.refreshed']]);
    assert.equal((await run(['webhook', 'test', id], environment)).code, 1);
    const listed = await json<{ id: string }[]>(['webhook', 'list'], environment);
    assert.equal(listed.length, 2);
    assert.deepEqual(await json(['webhook', 'delete', id], environment), { id, deleted: true });

    const renewed = await json(['app', 'rotate-secret', app.client_id ?? ''], environment);
    assert.equal((await fetch(`${running.ready.url}/v2/banks`, { headers })).status, 401);
    assert.equal(
      (await fetch(`${running.ready.url}/v2/banks`, { headers: { ...headers, 'client-secret': renewed.client_secret ?? '' } })).status,
      200,
    );
  } finally {
    target.close();
    assert.equal(await running.stop(), 0);
  }
});

test('a webhook that was off goes on from where it stopped, or from now', async () => {
  const environment = folder('enable');
  await json(['app', 'create', '--name', 'Mine'], environment);
  const { id = '' } = await json(['webhook', 'create', '--url', 'https://example.com/hooks'], environment);
  await json(['webhook', 'test', id], environment);
  await json(['webhook', 'update', id, '--disable'], environment);
  const skipped = () => {
    const database = new DatabaseSync(join(root, 'enable', 'pontage.db'), { readOnly: true });
    const row = database.prepare('select skip_through from endpoints').get() as { skip_through: string | null };
    database.close();
    return row.skip_through === null ? null : (JSON.parse(row.skip_through) as number[]).reduce((sum, head) => sum + head, 0);
  };
  for (const [words, sentence] of [
    [['--from', 'now'], /--from goes with --enable/],
    [['--enable', '--from', 'then'], /where_it_stopped or now/],
  ] as const) {
    const refused = await run(['webhook', 'update', id, ...words], environment);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, sentence);
  }
  const update = (...words: string[]) => json<{ enabled: boolean; name: string }>(['webhook', 'update', id, ...words], environment);
  assert.equal((await update('--enable', '--from', 'where_it_stopped')).enabled, true);
  assert.equal(skipped(), null);
  await update('--disable');
  const { enabled, name } = await update('--enable', '--from', 'now', '--name', 'Again');
  assert.deepEqual([enabled, name, skipped()], [true, 'Again', 1]);
});

test('what was given up for a webhook is listed as the API lists it, and so is what waits', async () => {
  const environment = folder('deliveries');
  const app = await json(['app', 'create', '--name', 'Mine'], environment);
  const { id = '' } = await json(['webhook', 'create', '--url', 'https://example.com/hooks'], environment);
  const list = (...words: string[]) => run(['webhook', 'deliveries', id, ...words], environment);
  assert.equal((await list()).stdout, `Nothing was given up for webhook ${id}.\n`);
  const database = new DatabaseSync(join(root, 'deliveries', 'pontage.db'));
  const add = database.prepare(`insert into parked (endpoint_id, lane, seq, replay_id, item_id, type, state, attempts, due_at, parked_at)
                                values (?, 3, ?, ?, 7, 'item.created', ?, 2, ?, 0)`);
  for (const seq of [1, 2, 3]) add.run(id, seq, '', 'dead', null);
  // More of a replay than one page of the API goes through.
  database.exec(`insert into parked (endpoint_id, lane, seq, replay_id, state, attempts, parked_at)
                 with recursive seqs (seq) as (select 4 union all select seq + 1 from seqs where seq < 12000)
                 select '${id}', 3, seq, 'rpl_1', 'dead', 2, 0 from seqs`);
  add.run(id, 12_001, '', 'dead', null);
  add.run(id, 12_002, '', 'retry', 60_000);
  database.close();
  const dead = await list('--limit', '3');
  assert.match(
    dead.stdout,
    /^EVENT +TYPE +ITEM +TRIED +SINCE +AGAIN AT\nevt_030000000001 +item\.created +7 +2 +1970-01-01T00:00:00\.000Z +-\n/,
  );
  assert.match(dead.stdout, new RegExp(`There are more: .*\\n.*npx pontage replay start --webhook ${id} --dead\\n$`));
  assert.equal((await list('--state', 'retry')).stdout.split('\n').length, 3);

  const running = await server('dev', environment);
  try {
    const headers = { 'client-id': app.client_id ?? '', 'client-secret': app.client_secret ?? '' };
    const page = async (query: string) =>
      (await (await fetch(`${running.ready.url}/api/v1/webhooks/${id}/deliveries${query}`, { headers })).json()) as {
        deliveries: object[];
        next: string | null;
      };
    const first = await page('');
    const second = await page(`?after=${first.next}`);
    assert.deepEqual([first.deliveries.length, second.deliveries.length, second.next], [3, 1, null]);
    assert.deepEqual(await json(['webhook', 'deliveries', id], environment), [...first.deliveries, ...second.deliveries]);
    assert.doesNotMatch((await list('--limit', '4')).stdout, /There are more/);
  } finally {
    assert.equal(await running.stop(), 0);
  }
});

test('a webhook that fails says why its test waits, and begins anew when it is enabled', async () => {
  const environment = folder('failing');
  await json(['app', 'create', '--name', 'Mine'], environment);
  const { id = '' } = await json(['webhook', 'create', '--url', 'https://example.com/hooks'], environment);
  const database = new DatabaseSync(join(root, 'failing', 'pontage.db'));
  database
    .prepare(`insert into endpoint_health (endpoint_id, revision, circuit, failures, failing_since, probes, probe_hours, observed_ms, next_probe_at)
              values (?, 1, 'open', 10, 1, 0, 0, 0, ?)`)
    .run(id, Date.UTC(2100, 0, 1));
  const circuit = () => (database.prepare('select circuit from endpoint_health').get() as { circuit: string }).circuit;
  const waits = await run(['webhook', 'test', id], environment);
  assert.match(waits.stdout, /^TEST_EVENT evt_\w+ waits: .* \(the next one at 2100-01-01T00:00:00\.000Z\)\.$/m);
  assert.match(waits.stdout, new RegExp(`npx pontage webhook update ${id} --enable`));
  await json(['webhook', 'update', id, '--name', 'Other'], environment);
  assert.equal(circuit(), 'open');
  await json(['webhook', 'update', id, '--enable'], environment);
  assert.equal(circuit(), 'half_open');
  database.close();
  assert.match((await run(['webhook', 'test', id], environment)).stdout, /is on its way/);
});

test('at most ten webhooks per application', async () => {
  const environment = folder('ten');
  await json(['app', 'create', '--name', 'Mine'], environment);
  for (let count = 0; count < 10; count += 1) await json(['webhook', 'create', '--url', `https://example.com/${count}`], environment);
  const ended = await run(['webhook', 'create', '--url', 'https://example.com/eleventh'], environment);
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /at most 10/);
});

test('the secret client credentials are shown at the first start only, and the inbox follows the port', async () => {
  const environment = folder('twice');
  const first = await server('dev', environment);
  assert.ok(first.ready.client_secret);
  assert.equal(await first.stop('SIGINT'), 0);
  const second = await server('dev', environment);
  try {
    assert.equal(second.ready.client_secret, undefined);
    assert.equal(second.ready.client_id, first.ready.client_id);
    const [inbox] = await json<{ id: string; url: string }[]>(['webhook', 'list'], environment);
    assert.equal(inbox?.url, `${second.ready.url}/dashboard/inbox`);
    assert.equal((await fetch(second.ready.connect_url ?? '')).status, 200);
  } finally {
    await second.stop();
  }
});

test('the dashboard shows what arrives in the inbox, live, and again after a restart', async () => {
  const environment = folder('inbox');
  const running = await server('dev', environment);
  const url = running.ready.url ?? '';
  const [inbox] = await json<{ id: string }[]>(['webhook', 'list'], environment);
  const stream = (await fetch(`${url}/dashboard/inbox/stream`)).body?.getReader();
  const { event_id: eventId } = await json(['webhook', 'test', inbox?.id ?? ''], environment);
  let seen = '';
  const decoder = new TextDecoder();
  while (stream && !seen.includes('TEST_EVENT')) seen += decoder.decode((await stream.read()).value);
  const message = JSON.parse(/^data: (.*)$/m.exec(seen)?.[1] ?? '') as { id: string; verified: boolean };
  assert.deepEqual([message.id, message.verified], [eventId, true]);
  assert.match(await (await fetch(`${url}/dashboard`)).text(), new RegExp(`data-event-id="${eventId}"`));
  assert.equal(await running.stop(), 0);

  const again = await server('dev', environment);
  assert.match(await (await fetch(`${again.ready.url}/dashboard`)).text(), new RegExp(`data-event-id="${eventId}"`));
  await again.stop();
});

test('the dashboard refuses other hosts, other sites and forms that are not its own', async () => {
  const running = await server('dev', folder('guarded'));
  const { hostname, port } = new URL(running.ready.url ?? '');
  try {
    const asked = async (path: string, options: { method?: string; headers?: Record<string, string>; body?: string }) => {
      const { request } = await import('node:http');
      const sent = request({ hostname, port, path, method: options.method ?? 'GET', headers: options.headers ?? {} });
      sent.end(options.body);
      const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
      const text = Buffer.concat(await response.toArray()).toString();
      return { status: response.statusCode, headers: response.headers, text };
    };
    assert.equal((await asked('/dashboard', { headers: { host: `rebound.example:${port}` } })).status, 403);
    const page = await asked('/dashboard', { headers: { host: `localhost:${port}` } });
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'/);
    const cookie = String(page.headers['set-cookie']?.[0]).split(';')[0] ?? '';
    assert.match(String(page.headers['set-cookie']?.[0]), /HttpOnly; SameSite=Strict/);
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const form = { 'content-type': 'application/x-www-form-urlencoded', cookie };
    const post = (body: string, headers: Record<string, string>) => asked('/dashboard/connect', { method: 'POST', body, headers });
    assert.equal((await post('csrf=wrong', form)).status, 403);
    assert.equal((await post(`csrf=${csrf}`, { 'content-type': form['content-type'] })).status, 403);
    assert.equal((await post(`csrf=${csrf}`, { ...form, 'sec-fetch-site': 'cross-site' })).status, 403);
    const moved = await post(`csrf=${csrf}`, form);
    assert.equal(moved.status, 303);
    assert.match(String(moved.headers.location), /^\/connect\/session\/[0-9a-f-]{36}$/);
    const clock = await asked('/dashboard/clock', { method: 'POST', body: `csrf=${csrf}&days=1`, headers: form });
    assert.equal(clock.status, 303);
    assert.equal((await asked('/dashboard/inbox', { method: 'POST', body: '{}' })).status, 400);
  } finally {
    await running.stop();
  }
});

test('production has no dashboard and no inbox, is ready when it says so, and refuses a second server', async () => {
  const environment = {
    ...folder('production'),
    PONTAGE_SECRET_KEY: KEY,
    PONTAGE_PUBLIC_URL: 'https://banks.example.com',
    PONTAGE_HOST: '127.0.0.1',
    PONTAGE_LOG_LEVEL: 'error',
  };
  const running = await server('serve', environment);
  try {
    const url = running.ready.url ?? '';
    assert.equal(running.ready.public_url, 'https://banks.example.com');
    for (const path of ['/', '/dashboard', '/dashboard/inbox'])
      assert.equal((await fetch(`${url}${path}`, { redirect: 'manual' })).status, 404, path);
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    let ready = await fetch(`${url}/readyz`);
    while (ready.status !== 200) ready = await fetch(`${url}/readyz`);
    const second = await run(['serve'], environment);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /Another server is running/);
    await json(['app', 'create', '--name', 'Mine', '--environment', 'production'], environment);
    const refused = await run(['webhook', 'create', '--url', 'http://127.0.0.1:9/x'], environment);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /not allowed/);
    assert.equal((await run(['doctor'], environment)).code, 0);
  } finally {
    assert.equal(await running.stop(), 0);
  }
});

test('keys are rotated while the server runs, and what was sealed before still opens', async () => {
  const environment = folder('keys');
  const running = await server('dev', environment);
  const target = await receiver();
  try {
    const webhook = await json(['webhook', 'create', '--url', target.url], environment);
    const before = readFileSync(join(environment.PONTAGE_DATA_DIR ?? '', 'secret.key'), 'utf8')
      .trim()
      .split('\n');
    const { rewrapped } = await json<{ rewrapped: number }>(['key', 'rotate'], environment);
    assert.equal(rewrapped, 2);
    const now = readFileSync(join(environment.PONTAGE_DATA_DIR ?? '', 'secret.key'), 'utf8')
      .trim()
      .split('\n');
    assert.deepEqual(now.slice(1), before);
    await json(['webhook', 'create', '--url', 'http://127.0.0.1:9/other'], environment);
    await json(['webhook', 'test', webhook.id ?? ''], environment);
    const arrival = await target.arrival(0);
    verify(arrival.body, arrival.headers, webhook.secret ?? '');
    const doctor = await json<{ ok: boolean }>(['doctor'], environment);
    assert.equal(doctor.ok, true);
  } finally {
    target.close();
    await running.stop();
  }
});

test('a backup is one file, made while the server runs, with nothing secret in clear; restore waits for the server to stop', async () => {
  const environment = folder('backup');
  const file = join(root, 'backup.db');
  const running = await server('dev', environment);
  const webhook = await json(['webhook', 'create', '--url', 'https://example.com/hooks', '--name', 'Kept'], environment);
  await json(['backup', file], environment);
  assert.deepEqual(
    readdirSync(root).filter((name) => name.startsWith('backup.db')),
    ['backup.db'],
  );
  const bytes = readFileSync(file, 'latin1');
  assert.ok(bytes.includes('https://example.com/hooks'));
  for (const secret of [webhook.secret, running.ready.client_secret]) assert.ok(secret && !bytes.includes(secret));
  assert.equal((await run(['backup', file], environment)).code, 1);

  await json(['webhook', 'delete', webhook.id ?? ''], environment);
  const early = await run(['restore', file], environment);
  assert.equal(early.code, 1);
  assert.match(early.stderr, /stop it first/);
  await running.stop();
  await json(['restore', file], environment);
  const listed = await json<{ name: string }[]>(['webhook', 'list'], environment);
  assert.ok(listed.some(({ name }) => name === 'Kept'));
  assert.ok(existsSync(join(environment.PONTAGE_DATA_DIR ?? '', 'pontage.db')));
  const foreign = await run(['restore', MAIN], environment);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /no backup of Pontage/);
});

test('the demonstration shows all five kinds, verified, in under 20 s, and leaves nothing behind', async () => {
  const temporary = mkdtempSync(join(root, 'tmp-'));
  const startedAt = performance.now();
  const ended = await run(['demo', '--json'], { TMPDIR: temporary });
  assert.equal(ended.code, 0, ended.stderr);
  assert.ok(performance.now() - startedAt < 20_000);
  const lines = ended.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const last = lines.at(-1);
  assert.equal(last?.ok, true);
  assert.deepEqual([...((last?.kinds ?? []) as string[])].sort(), [
    'item.account.created',
    'item.account.deleted',
    'item.account.updated',
    'item.created',
    'item.refreshed',
  ]);
  const events = lines.filter((line) => 'event' in line);
  assert.ok(events.length > 0 && events.every((line) => line.verified === true));
  assert.deepEqual(readdirSync(temporary), []);
});
