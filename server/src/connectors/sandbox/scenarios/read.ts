/** Reads a scenario file. Every problem is told with its line, and what to write instead. Pure. */
import { LineCounter, parseDocument, type YAMLError } from 'yaml';
import type { z } from 'zod';
import { DAY_MS, HOUR_MS } from '../../../base/clock.ts';
import { parseDecimal } from '../../../base/money.ts';
import { expectationFault } from './expectation.ts';
import { type Scenario, STEPS, type Step, scenarioSchema, type Word } from './scenario.ts';

export type Problem = { line: number; sentence: string };
export type ScenarioRead = { ok: true; scenario: Scenario } | { ok: false; problems: readonly Problem[] };

/** No scenario is near it; a file that is, is something else. */
export const SCENARIO_CHARACTERS_MAX = 1_000_000;

type Path = readonly (string | number)[];
type Parsed = z.output<typeof scenarioSchema>;

export function readScenario(source: string): ScenarioRead {
  if (source.length > SCENARIO_CHARACTERS_MAX) return { ok: false, problems: [{ line: 1, sentence: 'The file is larger than 1 MB.' }] };
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, maxAliasCount: 0 } as never);
  if (document.errors.length > 0) {
    const problems = document.errors.map((error: YAMLError) => ({
      line: lines.linePos(error.pos[0]).line,
      sentence: error.message.split('\n')[0]!,
    }));
    return { ok: false, problems };
  }
  /** The line of the innermost node of the path that is there. */
  const lineOf = (path: Path): number => {
    for (let length = path.length; length > 0; length -= 1) {
      const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined;
      if (node?.range) return lines.linePos(node.range[0]).line;
    }
    return 1;
  };
  let content: unknown;
  try {
    content = document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    return { ok: false, problems: [{ line: 1, sentence: `${(error as Error).message}: write it out, without aliases.` }] };
  }
  const parsed = scenarioSchema.safeParse(content);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => {
      const path = issue.path as Path;
      const [unknown] = issue.code === 'unrecognized_keys' ? issue.keys : [];
      return { line: lineOf(unknown === undefined ? path : [...path, unknown]), sentence: sentenceOf(issue, path) };
    });
    return { ok: false, problems };
  }
  const problems = checkMeaning(parsed.data, lineOf);
  return problems.length > 0 ? { ok: false, problems } : { ok: true, scenario: scenarioOf(parsed.data) };
}

function sentenceOf(issue: { code?: string; message: string; keys?: string[]; errors?: { message: string }[][] }, path: Path): string {
  const place = path.length === 0 ? 'the file' : path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const inStep = path.at(-2) === 'does';
    const known = inStep ? `; a step is one of ${Object.keys(STEPS).join(', ')}` : '';
    return `${place}: there is no ${(issue.keys ?? []).map((key) => `"${key}"`).join(', ')} here${known}`;
  }
  if (issue.message.endsWith('received undefined')) return `${place} is missing`;
  // What none of several forms fits has no sentence of its own: the last form's is the most general one.
  const [branch] = (issue.errors ?? []).at(-1) ?? [];
  return `${place}: ${branch?.message ?? issue.message}`;
}

/** What a schema cannot say: names that exist, steps in a possible order, days that a run plays, amounts of the account's currency. */
function checkMeaning(file: Parsed, lineOf: (path: Path) => number): Problem[] {
  const problems: Problem[] = [];
  const tell = (path: Path, sentence: string) => problems.push({ line: lineOf(path), sentence });
  const keys = file.accounts.map(({ key }) => key);
  keys.forEach((key, index) => {
    if (keys.indexOf(key) !== index) tell(['accounts', index, 'key'], `There are two accounts called "${key}".`);
  });
  const exact = (path: Path, amount: string, currency: string) => {
    if (parseDecimal(amount, currency) === null) tell(path, `"${amount}" is no amount in ${currency}.`);
  };
  file.accounts.forEach((account, index) => {
    exact(['accounts', index, 'balance'], account.balance, account.currency);
  });
  const beyond = (path: Path, day: number, what: string) => {
    if (day > file.lasts) tell(path, `Day ${day} ${what}: a run lasts ${file.lasts} days. Raise "lasts" to ${day}.`);
  };
  const rows = new Map<string, string>();
  for (const [index, entry] of inOrder(file.days)) {
    beyond(['days', index, 'day'], entry.day, 'would never come');
    entry.does.forEach((given, place) => {
      const [word, details] = stepOf(given);
      const path = ['days', index, 'does', place, word];
      if ('account' in STEPS[word].shape) {
        const named = (details as { account?: string }).account;
        if (named === undefined && keys.length > 1) tell(path, `Say which account: ${keys.join(', ')}.`);
        if (named !== undefined && !keys.includes(named))
          tell([...path, 'account'], `There is no account "${named}", only ${keys.join(', ')}.`);
      }
      const key = (details as { account?: string }).account ?? keys[0]!;
      const row = (details as { row?: string }).row;
      const makes = word === 'booked' || word === 'pending' || word === 'scheduled';
      if (makes && row !== undefined) {
        if (rows.has(row)) tell([...path, 'row'], `There is a row called "${row}" already.`);
        rows.set(row, key);
      }
      if (!makes && row !== undefined && !rows.has(row)) tell([...path, 'row'], `There is no row "${row}" yet.`);
      const currency = file.accounts.find((account) => account.key === (makes ? key : (rows.get(row ?? '') ?? key)))?.currency ?? 'EUR';
      for (const field of ['amount', 'by'] as const) {
        const amount = (details as Record<string, unknown>)[field];
        if (typeof amount === 'string') exact([...path, field], amount, currency);
      }
    });
  }
  const expected = file.expect?.map(({ day }) => day);
  file.expect?.forEach(({ day, events }, index) => {
    beyond(['expect', index, 'day'], day, 'would never be compared');
    if (expected?.indexOf(day) !== index)
      tell(['expect', index, 'day'], `Day ${day} is expected above already: write its events in one list.`);
    events.forEach((line, place) => {
      const fault = expectationFault(line, keys);
      if (fault !== null) tell(['expect', index, 'events', place], fault);
    });
  });
  return problems;
}

type Entry = Parsed['days'][number];

function inOrder(days: readonly Entry[]): [index: number, entry: Entry][] {
  return [...days.entries()].sort(([, a], [, b]) => a.day - b.day || a.hour - b.hour);
}

function stepOf(given: Entry['does'][number]): [Word, object] {
  return Object.entries(given)[0] as [Word, object];
}

function scenarioOf(file: Parsed): Scenario {
  const steps = inOrder(file.days).flatMap(([, { day, hour, does }]) =>
    does.map((given) => {
      const [word, details] = stepOf(given);
      return { word, day, atMs: (day - 1) * DAY_MS + hour * HOUR_MS, ...details } as Step;
    }),
  );
  return {
    name: file.name,
    title: file.title,
    about: file.about.trim(),
    accounts: file.accounts,
    steps,
    lastsDays: file.lasts,
    expect: file.expect ? new Map(file.expect.map(({ day, events }) => [day, events])) : null,
  };
}
