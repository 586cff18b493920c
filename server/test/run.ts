/** What `npm test` runs: every `*.test.ts` of the three workspaces, beside one real PostgreSQL. */

import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { POSTGRES_URL_VARIABLE, startPostgres } from './support/postgres.ts';

/**
 * Test files that run at once, each in a process of its own: one more than the cores of a small machine, because browsers,
 * disks and timers are waited for.
 */
const CONCURRENCY = 3;
/** A test that takes longer hangs. The slowest (browser, crash) take some tens of seconds. */
const TEST_TIMEOUT_MS = 300_000;

const root = join(import.meta.dirname, '..', '..');
/** Shared by all of these processes: loading the server's modules takes each 0.2 s instead of 0.5. */
const COMPILED = join(root, 'node_modules', '.cache', 'pontage-test');

// `npm test -- delivery` runs the files with "delivery" in their path; what starts with a dash is for node itself.
const words = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('-'));

const files = globSync('{sdk,server,dashboard}/**/*.test.ts', { cwd: root, exclude: ['**/node_modules/**', '**/dist/**'] })
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) {
  console.error(words.length === 0 ? 'There are no tests.' : `No test file has ${words.join(' or ')} in its path.`);
  process.exit(1);
}

const postgres = await startPostgres();
process.exitCode = await runTests(postgres.url);
await postgres.stop();

/** Runs them by `node --test` and returns its exit code, 128 + the signal's number when a signal ended it. */
function runTests(postgresUrl: string): Promise<number> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--test',
      `--test-concurrency=${CONCURRENCY}`,
      `--test-timeout=${TEST_TIMEOUT_MS}`,
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      ...flags,
      ...files,
    ],
    { cwd: root, env: { NODE_COMPILE_CACHE: COMPILED, ...process.env, [POSTGRES_URL_VARIABLE]: postgresUrl }, stdio: 'inherit' },
  );
  // The runner ends its test processes on these, and this process stays to stop the database.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]));
  });
}
