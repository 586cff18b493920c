import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { loadConfig, OperatorError, scenariosFolder } from '../config.ts';
import { createScenarios, load } from '../connectors/sandbox/scenarios/library.ts';
import type { Scenario } from '../connectors/sandbox/scenarios/scenario.ts';
import { openStorage } from '../storage/open.ts';
import { describe, print, table } from './command.ts';
import type { Played } from './scenario-play.ts';

type Json = { json?: boolean };

export function addScenarioCommands(program: Command): void {
  const scenario = program.command('scenario').description('scenarios: what a bank does, day by day, as a small file says it');

  describe(scenario, 'list', 'list the scenarios that the Demo Bank can play', 'scenario list').action(async (options: Json) => {
    const folder = scenariosFolder(loadConfig('auto'));
    const scenarios = createScenarios(folder);
    const found = await Promise.all(scenarios.names().map(async (name) => ({ name, scenario: await scenarios.find(name) })));
    print(
      options,
      found.map(({ name, scenario }) => ({ name, title: scenario?.title ?? null, login: `scenario:${name}`, readable: scenario !== null })),
      [
        ...table(
          ['LOGIN AT THE DEMO BANK', 'WHAT HAPPENS'],
          found.map(({ name, scenario }) => [`scenario:${name}`, scenario?.title ?? 'cannot be read: see npx pontage scenario run']),
        ),
        '',
        `Your own: put NAME.yaml into ${folder}, and log in as scenario:NAME.`,
      ],
    );
  });

  describe(
    scenario,
    'run <file-or-name>',
    'play a scenario on a database of its own, and compare what happens with what it expects',
    'scenario run twin-coffee',
  ).action(async (fileOrName: string, options: Json) => {
    const chosen = await choose(fileOrName);
    const folder = mkdtempSync(join(tmpdir(), 'pontage-scenario-'));
    try {
      const { playScenario } = await import('./scenario-play.ts');
      const storage = openStorage({ file: join(folder, 'pontage.db') });
      const played = await playScenario(storage, chosen).finally(() => storage.close());
      print(options, shown(chosen, played), lines(chosen, played));
      if (!played.asExpected) process.exitCode = 1;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  describe(scenario, 'schema', 'print the JSON schema of scenario files, for editors', 'scenario schema > scenario.schema.json').action(
    async () => print({ json: true }, await scenarioJsonSchema(), []),
  );
}

export async function scenarioJsonSchema(): Promise<object> {
  const [{ z }, { scenarioSchema }] = await Promise.all([import('zod'), import('../connectors/sandbox/scenarios/scenario.ts')]);
  return z.toJSONSchema(scenarioSchema, { io: 'input', unrepresentable: 'any' });
}

async function choose(fileOrName: string): Promise<Scenario> {
  const isFile = /[./\\]/.test(fileOrName);
  const folder = scenariosFolder(loadConfig('auto'));
  const preset = isFile ? null : await createScenarios(folder).find(fileOrName);
  if (preset) return preset;
  const file = isFile ? fileOrName : join(folder, `${fileOrName}.yaml`);
  const read = await load(file);
  if (read === null) {
    throw new OperatorError(
      isFile ? `There is no file ${file}.` : `There is no scenario ${fileOrName}: see npx pontage scenario list, or name a file.`,
      2,
    );
  }
  if (read.ok) return read.scenario;
  throw new OperatorError(
    [`${file} cannot be played:`, ...read.problems.map(({ line, sentence }) => `  line ${line}: ${sentence}`)].join('\n'),
    2,
  );
}

function shown(scenario: Scenario, { days, asExpected }: Played): object {
  return { name: scenario.name, title: scenario.title, as_expected: scenario.expect === null ? null : asExpected, days };
}

function lines(scenario: Scenario, { days, asExpected }: Played): string[] {
  const verdict =
    scenario.expect === null
      ? 'The file expects nothing.'
      : asExpected
        ? 'All of it as expected.'
        : 'Not as expected: + came unexpected, - did not come.';
  return [
    scenario.title,
    '',
    ...days.flatMap(({ day, events, expected }) => [`day ${day}`, ...difference(events, expected ?? events)]),
    '',
    `${scenario.lastsDays} days, without quiet refreshes. ${verdict}`,
  ];
}

/** In the order in which they came, with what was expected and did not come at the end. */
function difference(events: readonly string[], expected: readonly string[]): string[] {
  const open = [...expected];
  const came = events.map((event) => {
    const place = open.indexOf(event);
    if (place === -1) return `+ ${event}`;
    open.splice(place, 1);
    return `  ${event}`;
  });
  return [...came, ...open.map((event) => `- ${event}`)];
}
