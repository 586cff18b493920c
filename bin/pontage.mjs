#!/usr/bin/env node
// The one way in: `npm start`, `npm test` and `npx pontage` all come through here.
//
// Plain JavaScript that any Node from 18 on can run, because it is what a newcomer's own Node meets first. It installs
// from package-lock.json what is missing, finds a Node that can run the server, and hands over.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants, cpus } from 'node:os';
import { delimiter, dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The server is TypeScript that Node runs as it is, over node:sqlite: both are there from this version on. */
const NODE_MAJOR_MINIMUM = 24;
/** Enough of npm's own words to see the cause of a failed installation, few enough to read. */
const INSTALL_ERROR_LINES = 15;
/**
 * V8's threads collect garbage beside the server: four of them, its default, on two cores took both for a tenth of a second at
 * each turn, and 200 deliveries waited up to 70 ms.
 */
const V8_THREADS = Math.min(4, Math.max(1, cpus().length - 1));
/** How long a server may outlive the npm that started it; a look costs microseconds. */
const PARENT_POLL_MS = 500;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');

/** Commands that are the workshop's, not the server's: what to run, and whether it needs development dependencies. */
const workshop = {
  test: ['server/test/run.ts'],
  bench: ['server/bench/run.ts'],
  simulate: ['server/simulate/run.ts'],
  crash: ['server/test/crash/main.ts'],
  'bench:delivery': ['server/bench/delivery/main.ts'],
  'bench:refresh': ['server/bench/refresh/main.ts'],
  lint: ['node_modules/@biomejs/biome/bin/biome', 'ci', '.'],
  types: ['node_modules/typescript/bin/tsc', '-p', '.', '--noEmit'],
};

const [command, ...rest] = process.argv.slice(2);
const isWorkshop = command !== undefined && Object.hasOwn(workshop, command);

if (whatIsMissing(isWorkshop) !== undefined) {
  await install(isWorkshop);
}
const node = findNode();

if (isWorkshop) {
  const [script, ...fixed] = workshop[command];
  // The tools look for their files from where they stand.
  await handOver(node, [join(root, script), ...fixed, ...rest], root);
} else {
  const args = command === 'start' ? ['dev', ...rest] : process.argv.slice(2);
  // What Node compiled once is kept: a start then loads no compiler, which also saves 20 MB.
  process.env.NODE_COMPILE_CACHE ??= join(modules, '.cache', 'pontage');
  // glibc gives each thread a heap of its own, up to eight for each core; Node's few helpers need none: 3 MB less at rest.
  process.env.MALLOC_ARENA_MAX ??= '2';
  await handOver(node, [join(root, 'server/src/main.ts'), ...args], process.cwd());
}

/**
 * The first thing that package-lock.json asks for and node_modules has not, or undefined when all is there.
 *
 * npm writes node_modules/.package-lock.json last, so a broken-off installation shows by its absence; a folder that was
 * deleted or left at another version since then shows by its package.json.
 */
function whatIsMissing(withDevelopment) {
  const wanted = readJson(join(root, 'package-lock.json'));
  const installed = readJson(join(modules, '.package-lock.json'));
  if (wanted === undefined) fail('package-lock.json is missing or broken.', ['Restore it: git checkout package-lock.json']);
  if (installed === undefined) return 'node_modules';
  for (const [path, entry] of Object.entries(wanted.packages)) {
    if (!path.includes('node_modules/') || (entry.dev && !withDevelopment)) continue;
    const found = installed.packages[path];
    // npm leaves out the optional packages of other platforms, and so they are not in its record.
    if (found === undefined && (entry.optional || entry.devOptional)) continue;
    if (found === undefined || found.version !== entry.version || found.integrity !== entry.integrity) return path;
    const manifest = readJson(join(root, path, 'package.json'));
    if (manifest === undefined || (entry.version !== undefined && manifest.version !== entry.version)) return path;
  }
  return isRecent(process.version) || existsSync(bundledNode()) ? undefined : 'node_modules/.bin/node';
}

async function install(withDevelopment) {
  const again = existsSync(modules);
  say(`Pontage: ${again ? 'completing the installation' : 'first run, installing'} (package-lock.json, about a minute) ...`);
  const startedAt = Date.now();
  const args = [
    'ci',
    '--include=optional',
    ...(withDevelopment || process.env.NODE_ENV !== 'production' ? ['--include=dev'] : ['--omit=dev']),
    // The server's packages ask for Node 24, which is itself among what is being installed: no warning about the old one.
    '--engine-strict=false',
    '--loglevel=error',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
  ];
  const { code, output } = await runNpm(args);
  if (code !== 0) {
    // npm names the cause first; its manual of the command may follow.
    const lines = output.trim().split('\n').slice(0, INSTALL_ERROR_LINES);
    fail('the installation did not succeed. npm says:', [
      ...lines.map((line) => `  ${line}`),
      '',
      'Check the network (and the proxy: npm config get proxy), then run the same command again.',
      'For all of the details: npm ci --loglevel=verbose',
    ]);
  }
  const missing = whatIsMissing(withDevelopment);
  if (missing !== undefined && missing !== 'node_modules/.bin/node') {
    fail(`npm reported success, but ${missing} is not installed as package-lock.json says.`, [
      'Remove node_modules and run the same command again.',
    ]);
  }
  say(`Pontage: installed in ${Math.round((Date.now() - startedAt) / 1000)} s.`);
}

/** Runs the npm that started this launcher, or else the one on the PATH. Its output is kept, to be shown on failure. */
function runNpm(args) {
  const env = { ...process.env };
  // What belongs to the npm command around this one (`npm test --workspace=...`, npx) must not steer the installation.
  for (const name of Object.keys(env)) {
    if (/^npm_config_(workspaces?|include_workspace_root|local_prefix|omit|include|only|production|global|dry_run|package)$/i.test(name)) {
      delete env[name];
    }
  }
  // npm ci deletes node_modules first, so nothing of it may be the Node or the tool that does the work.
  const pathName = Object.keys(env).find((name) => name.toUpperCase() === 'PATH') ?? 'PATH';
  env[pathName] = (env[pathName] ?? '')
    .split(delimiter)
    .filter((folder) => !folder.startsWith(modules + sep) && folder !== modules)
    .join(delimiter);

  const npmScript = process.env.npm_execpath;
  const isOwn = npmScript !== undefined && /npm-cli\.[cm]?js$/.test(npmScript) && existsSync(npmScript);
  const isInside = !relative(modules, process.execPath).startsWith('..');
  const child = isOwn
    ? spawn(isInside ? 'node' : process.execPath, [npmScript, ...args], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    : spawn('npm', args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32' });

  let output = '';
  const keep = (chunk) => {
    output += chunk;
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const stopForwarding = forwardSignals(child);
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 1, output: `${output}\n${error.message}` }));
    child.once('close', (code, signal) => {
      stopForwarding();
      if (signal !== null) process.exit(exitCodeOf(code, signal));
      resolve({ code, output });
    });
  });
}

/** This Node when it is recent enough, else the one that the `node` package brought. */
function findNode() {
  if (isRecent(process.version)) return process.execPath;
  const path = bundledNode();
  const remedy = [
    'Either let npm run the install script of the package `node`, which fetches it:',
    '  npm config get ignore-scripts       must say false',
    '  npm rebuild node                    fetches it again (package.json approves it under "allowScripts")',
    `or install Node ${NODE_MAJOR_MINIMUM} or newer yourself (https://nodejs.org), and run the same command again.`,
  ];
  if (!existsSync(path)) {
    fail(`it needs Node ${NODE_MAJOR_MINIMUM} or newer. This is ${process.version}, and ${relative(root, path)} is not there.`, remedy);
  }
  const probe = spawnSync(path, ['--version'], { encoding: 'utf8' });
  const version = probe.stdout?.trim() ?? '';
  if (!isRecent(version)) {
    const said = probe.error?.message ?? (version || probe.stderr?.trim()) ?? 'nothing';
    fail(`it needs Node ${NODE_MAJOR_MINIMUM} or newer, but ${relative(root, path)} --version gives: ${said}`, remedy);
  }
  return path;
}

function handOver(executable, args, cwd) {
  // The tests and the tools start `node` themselves at times, and must meet this one.
  const env = { ...process.env, PATH: [dirname(executable), process.env.PATH ?? ''].join(delimiter) };
  const child = spawn(executable, [`--v8-pool-size=${V8_THREADS}`, ...args], { cwd, env, stdio: 'inherit' });
  forwardSignals(child);
  if (process.env.npm_execpath !== undefined) endWithParent(child);
  return new Promise((resolve) => {
    child.once('error', (error) => fail(`could not start ${executable}: ${error.message}`, []));
    child.once('exit', (code, signal) => {
      process.exitCode = exitCodeOf(code, signal);
      resolve();
      // Listeners for signals do not keep a process alive, but an inherited terminal may.
      process.exit();
    });
  });
}

/**
 * Passes SIGINT, SIGTERM and SIGHUP on, and outlives the child so that its exit code counts. At a terminal the keyboard's
 * SIGINT reaches the whole group by itself, and a second one would mean "at once".
 */
function forwardSignals(child) {
  const listeners = ['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => {
    const listener = () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    };
    process.on(signal, listener);
    return [signal, listener];
  });
  return () => {
    for (const [signal, listener] of listeners) process.off(signal, listener);
  };
}

/**
 * npm runs this launcher in a shell, and a SIGTERM to npm ends that shell without a word to us. Having lost the parent is
 * then the only sign. Not for a launcher started by hand, which may well outlive its shell.
 */
function endWithParent(child) {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    child.kill('SIGTERM');
  }, PARENT_POLL_MS);
  timer.unref();
}

/** As a shell counts it: 128 + the number of the signal. */
function exitCodeOf(code, signal) {
  return signal === null ? code : 128 + (constants.signals[signal] ?? 0);
}

function bundledNode() {
  // On Windows .bin holds a shell wrapper, which spawn cannot start.
  return process.platform === 'win32' ? join(modules, 'node', 'bin', 'node.exe') : join(modules, '.bin', 'node');
}

function isRecent(version) {
  return Number(/^v(\d+)\./.exec(version)?.[1] ?? 0) >= NODE_MAJOR_MINIMUM;
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function say(line) {
  // Standard error: what a command prints (--json) stays clean.
  process.stderr.write(`${line}\n`);
}

function fail(what, lines) {
  say(`Pontage: ${what}`);
  for (const line of lines) say(line);
  process.exit(1);
}
