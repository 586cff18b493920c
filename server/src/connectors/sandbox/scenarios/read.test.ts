import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { scenarioJsonSchema } from '../../../cli/scenario.ts';
import { createScenarios } from './library.ts';
import { readScenario } from './read.ts';

const GOOD = `name: mine
title: Mine
about: A bank.
accounts:
  - { key: main, balance: 100.00 }
days:
  - day: 1
    does:
      - pending: { row: coffee, amount: -4.20, label: CAFE }
  - day: 3
    hour: 12
    does:
      - book: { row: coffee, amount: -4.50, id: new }
lasts: 5
expect:
  - { day: 3, events: [item.account.updated main ~1] }
`;

/** The problems of the good file with one line replaced. */
function problemsWith(line: number, text: string): string[] {
  const lines = GOOD.split('\n');
  lines[line - 1] = text;
  const read = readScenario(lines.join('\n'));
  return read.ok ? [] : read.problems.map((problem) => `${problem.line}: ${problem.sentence}`);
}

suite('a scenario file', () => {
  test('is read into steps in their order', () => {
    const read = readScenario(GOOD);
    assert.ok(read.ok);
    assert.deepEqual(
      read.scenario.steps.map(({ word, atMs }) => [word, atMs / 3_600_000]),
      [
        ['pending', 0],
        ['book', 60],
      ],
    );
    assert.equal(read.scenario.accounts[0]!.currency, 'EUR');
  });

  test('tells each problem with its line', () => {
    const cases: [number, string, RegExp][] = [
      [3, 'about: [', /^\d+: /],
      [5, '  - { key: Main }', /^5: accounts\.0\.key: write a short name/],
      [
        9,
        '      - pendng: { row: coffee, amount: -4.20, label: CAFE }',
        /^9: days\.0\.does\.0: there is no "pendng" here; a step is one of booked, /,
      ],
      [9, '      - pending: { row: coffee, amount: four, label: CAFE }', /^9: days\.0\.does\.0\.pending\.amount: /],
      [9, '      - pending: { row: coffee, amount: 4.123456, label: CAFE }', /^9: "4\.123456" is no amount in EUR/],
      [9, '      - pending: { account: other, row: coffee, amount: 1, label: CAFE }', /^9: There is no account "other", only main/],
      [13, '      - book: { row: tea }', /^13: There is no row "tea" yet/],
      [13, '      - pending: { row: coffee, amount: 1, label: CAFE }', /^13: There is a row called "coffee" already/],
      [14, 'lasts: soon', /^14: lasts: /],
      [16, '  - { day: 3, events: [item.account.updatd main ~1] }', /^16: "item\.account\.updatd main ~1" is no event/],
      [16, '  - { day: 3, events: [item.account.deleted other] }', /^16: There is no account "other"/],
      [10, '  - day: 6', /^10: Day 6 would never come: a run lasts 5 days\. Raise "lasts" to 6/],
      [16, '  - { day: 6, events: [item.account.deleted main] }', /^16: Day 6 would never be compared: a run lasts 5 days/],
      [
        16,
        '  - { day: 3, events: [item.account.deleted main] }\n  - { day: 3, events: [item.account.updated main ~1] }',
        /^17: Day 3 is expected above already: write its events in one list/,
      ],
      [14, 'lasts: 5\nmore: 1', /^15: the file: there is no "more" here/],
    ];
    for (const [line, text, expected] of cases) {
      const problems = problemsWith(line, text);
      assert.ok(problems.length > 0, text);
      assert.match(problems[0]!, expected);
    }
  });

  test('two accounts want to be named', () => {
    assert.match(problemsWith(5, '  - { key: main }\n  - { key: other }')[0]!, /^10: Say which account: main, other/);
  });

  test('is refused when it is huge, or a bomb of aliases', () => {
    assert.equal(readScenario(`${GOOD}# ${'x'.repeat(1_000_000)}`).ok, false);
    const bomb = `a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n`;
    assert.equal(readScenario(bomb).ok, false);
  });

  test('all presets can be read, and a name is never a path', async () => {
    const scenarios = createScenarios(null);
    for (const name of scenarios.names()) assert.ok(await scenarios.find(name), name);
    assert.equal(await scenarios.find('../presets/twin-coffee'), null);
    assert.equal(await scenarios.find('nobody'), null);
  });

  test('has a JSON schema, and the one that ships is it', async () => {
    const shipped = readFileSync(new URL('./scenario.schema.json', import.meta.url), 'utf8');
    assert.deepEqual(JSON.parse(shipped), JSON.parse(JSON.stringify(await scenarioJsonSchema())));
  });
});
