/** Commands on a data folder without a server: their help, their refusals, what they ask for and list. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import type { Command } from 'commander';
import { createProgram } from '../../src/cli/program.ts';
import { type Environment, folder, json, KEY, root, run } from '../support/cli.ts';

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
