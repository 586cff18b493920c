/** The house keeps its floors: imports go down only, never up, never sideways between siblings. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

const SOURCE = new URL('../src/', import.meta.url).pathname;

const FLOORS: readonly (readonly string[])[] = [
  ['base'],
  ['storage', 'telemetry'],
  ['events', 'vault'],
  ['access', 'users', 'items', 'accounts', 'transactions', 'endpoints', 'connectors'],
  ['refresh', 'delivery', 'upkeep'],
  ['http/edge'],
  ['http/v2', 'http/api', 'http/connect', 'http/admin', 'http/static'],
  // And the files directly in `src`: main, config, the composition.
  ['cli'],
];

type Place = { floor: number; room: string };

function placeOf(file: string): Place {
  for (const [floor, rooms] of FLOORS.entries()) {
    for (const room of rooms) if (file === room || file.startsWith(`${room}/`)) return { floor, room };
  }
  if (!file.includes('/')) return { floor: FLOORS.length - 1, room: file };
  throw new Error(`${file} stands on no floor: give it a room, or a line in this test and in ARCHITECTURE.md`);
}

/** What a file may import: everything below it, its own room, and on the top floor its neighbours. */
function mayImport(from: Place, to: Place): boolean {
  const top = FLOORS.length - 1;
  return to.floor < from.floor || to.room === from.room || (from.floor === top && to.floor === top);
}

type Import = { file: string; target: string };

function importsOf(file: string): Import[] {
  const text = readFileSync(join(SOURCE, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, target]) => ({ file, target: target! }));
}

/** Tests, and what only tests use: fixtures, and files that take the tests' support from outside the house. */
const isForTests = (file: string) => file.endsWith('.test.ts') || /(^|\/)(fixtures(\.ts|\/)|harness\.ts|testing\.ts)/.test(file);
const files = globSync('**/*.ts', { cwd: SOURCE }).filter((file) => !isForTests(file));
const imports = files.flatMap(importsOf);

test('every file has a room', () => {
  assert.ok(files.length > 50);
  for (const file of files) placeOf(file);
});

test('imports go down only, never sideways between siblings', () => {
  const wrong = imports
    .filter(({ target }) => target.startsWith('.'))
    .map(({ file, target }) => ({ file, target: normalize(join(dirname(file), target)) }))
    .filter(({ file, target }) => !mayImport(placeOf(file), placeOf(target)))
    .map(({ file, target }) => `${file} imports ${target}`);
  assert.deepEqual(wrong, []);
});

test('only storage asks which engine it is, and imports drivers', () => {
  const others = files.filter((file) => !file.startsWith('storage/'));
  const drivers = imports.filter(({ file, target }) => others.includes(file) && ['pg', 'node:sqlite'].includes(target));
  assert.deepEqual(drivers, []);
  const askers = others.filter((file) => /\bengine\s*[!=]==|switch \(.*\bengine\)/.test(readFileSync(join(SOURCE, file), 'utf8')));
  assert.deepEqual(askers, []);
});

test('nothing imports the dashboard', () => {
  assert.deepEqual(
    imports.filter(({ target }) => target.includes('dashboard')),
    [],
  );
});

test('only config reads the environment', () => {
  const readers = files.filter((file) => /process\.env\b/.test(readFileSync(join(SOURCE, file), 'utf8')));
  assert.deepEqual(
    readers.filter((file) => file !== 'config.ts'),
    [],
  );
});

test('change detection and the catalogue are pure', () => {
  const impure = imports.filter(
    ({ file, target }) => (file.startsWith('refresh/detection/') || file === 'events/catalogue.ts') && target.startsWith('node:'),
  );
  assert.deepEqual(impure, []);
  const clocks = files
    .filter((file) => file.startsWith('refresh/detection/'))
    .filter((file) => /Date\.now|new Date\(\)|Math\.random|performance\.now/.test(readFileSync(join(SOURCE, file), 'utf8')));
  assert.deepEqual(clocks, []);
});
