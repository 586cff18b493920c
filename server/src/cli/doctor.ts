import { existsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Command } from 'commander';
import { type Config, databaseFile, keyFile, loadConfig, OperatorError, serverLockFile } from '../config.ts';
import { newestSchema, openDatabase, schemaVersion } from '../database.ts';
import { loadEndpoints } from '../endpoints/endpoints.ts';
import { createKeyRing, ensureKeys } from '../keys.ts';
import { findDamage } from '../storage/checks.ts';
import { sql } from '../storage/sql.ts';
import { lockFile } from '../storage/sqlite.ts';
import type { Storage } from '../storage/storage.ts';
import { createVault } from '../vault/vault.ts';
import { describe, print } from './command.ts';

/** `problem` makes the command fail; `note` is for information. */
type Finding = { check: string; state: 'ok' | 'note' | 'problem'; message: string };

/** The first moment at which this version can have run; a clock before it is wrong. */
const CLOCK_EARLIEST = Date.UTC(2026, 0, 1);
/** What a database's clock may differ without harm: signatures allow five minutes. */
const CLOCK_DIFFERENCE_MAX_MS = 60_000;
const PORT_TIMEOUT_MS = 2_000;

export function addDoctorCommand(program: Command): void {
  describe(program, 'doctor', 'check configuration, database, keys, clock and port, and say what to do', 'doctor').action(
    async (options: { json?: boolean }) => {
      const findings = await examine();
      const ok = findings.every(({ state }) => state !== 'problem');
      const mark = { ok: 'ok      ', note: 'note    ', problem: 'PROBLEM ' };
      print(options, { ok, findings }, [
        ...findings.map(
          ({ check, state, message }) => `${mark[state]} ${check.padEnd(14)} ${message.replaceAll('\n', `\n${' '.repeat(24)}`)}`,
        ),
        ok ? 'Nothing is wrong.' : 'Something is wrong: see PROBLEM above.',
      ]);
      if (!ok) process.exitCode = 1;
    },
  );
}

async function examine(): Promise<Finding[]> {
  const findings: Finding[] = [];
  const look = async (
    check: string,
    work: () => Promise<Omit<Finding, 'check'> | string> | Omit<Finding, 'check'> | string,
  ): Promise<boolean> => {
    try {
      const found = await work();
      findings.push(typeof found === 'string' ? { check, state: 'ok', message: found } : { check, ...found });
      return typeof found === 'string' || found.state !== 'problem';
    } catch (error) {
      findings.push({ check, state: 'problem', message: (error as Error).message });
      return false;
    }
  };

  let config: Config | null = null;
  await look('configuration', () => {
    config = loadConfig('auto');
    return `${(config as Config).mode}, data folder ${(config as Config).dataDir}`;
  });
  await look('clock', () => checkClock());
  if (!config) return findings;
  const known: Config = config;
  await look('data folder', () => checkFolder(known));
  await look('server', () => checkLock(known));
  await look('port', () => checkPort(known));
  if (known.databaseUrl === null && !existsSync(databaseFile(known))) {
    findings.push({ check: 'database', state: 'note', message: 'there is none yet: it is made at the first start (npm start)' });
    return findings;
  }
  const storage = openDatabase(known);
  try {
    if (!(await look('database', () => checkDatabase(storage)))) return findings;
    if ((await schemaVersion(storage)) === 0) return findings;
    const { shared } = storage;
    if (shared) await look('database clock', async () => checkDatabaseClock(await shared.now()));
    await look('keys', () => checkKeys(known, storage));
  } finally {
    await storage.close();
  }
  return findings;
}

function checkClock(): string {
  const now = Date.now();
  if (now < CLOCK_EARLIEST)
    throw new OperatorError(
      `This machine says it is ${new Date(now).toISOString()}: set its clock (NTP), or signatures and tokens will be refused.`,
    );
  return new Date(now).toISOString();
}

function checkFolder({ dataDir }: Config): Omit<Finding, 'check'> | string {
  if (!existsSync(dataDir)) return { state: 'note', message: `${dataDir} does not exist yet: it is made at the first start` };
  const open = statSync(dataDir).mode & 0o077;
  return open === 0
    ? 'readable for its owner alone'
    : { state: 'note', message: `others on this machine may look into it: chmod 700 ${dataDir}` };
}

function checkLock(config: Config): string {
  if (!existsSync(config.dataDir)) return 'none is running on this data folder';
  const lock = lockFile(serverLockFile(config));
  lock?.release();
  return lock ? 'none is running on this data folder' : 'one is running on this data folder';
}

async function checkPort({ host, port }: Config): Promise<Omit<Finding, 'check'> | string> {
  if (port === 0) return 'any free one';
  const fault = await new Promise<NodeJS.ErrnoException | null>((resolve) => {
    const probe = createServer();
    probe.once('error', resolve);
    probe.listen({ host, port }, () => probe.close(() => resolve(null)));
  });
  if (!fault) return `${port} is free`;
  if (fault.code !== 'EADDRINUSE')
    throw new OperatorError(`${host}:${port} cannot be listened on (${fault.message}): see PONTAGE_HOST and PONTAGE_PORT.`);
  const target = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const answer = await fetch(`http://${target}:${port}/readyz`, { signal: AbortSignal.timeout(PORT_TIMEOUT_MS) }).then(
    async (response) => ({ status: response.status, text: await response.text() }),
    () => null,
  );
  if (answer?.status === 200 && answer.text.includes('ready')) return `${port} is a server's that is ready`;
  if (answer?.status === 503 && answer.text.includes('unavailable'))
    return { state: 'problem', message: `a server on ${port} is not ready: ${answer.text.slice(0, 200)}` };
  return { state: 'problem', message: `${port} is used by another program: stop it, or choose another port with PONTAGE_PORT` };
}

async function checkDatabase(storage: Storage): Promise<Omit<Finding, 'check'> | string> {
  const version = await schemaVersion(storage);
  const newest = newestSchema();
  if (version === 0)
    return { state: 'note', message: `${storage.engine} answers, and is empty: run npx pontage migrate, or start the server` };
  if (version < newest) return { state: 'problem', message: `schema ${version}, this version needs ${newest}: run npx pontage migrate` };
  if (version > newest)
    return { state: 'problem', message: `schema ${version} is of a newer Pontage (this one knows ${newest}): run that version` };
  const damage = await findDamage(storage);
  if (damage !== null) return { state: 'problem', message: `the file is damaged (${damage}): restore a backup` };
  return `${storage.engine}, schema ${version}`;
}

function checkDatabaseClock(databaseTime: number): Omit<Finding, 'check'> | string {
  const differenceMs = Math.abs(databaseTime - Date.now());
  return differenceMs <= CLOCK_DIFFERENCE_MAX_MS
    ? `differs by ${differenceMs} ms`
    : { state: 'note', message: `the database's clock differs by ${Math.round(differenceMs / 1000)} s: synchronise both machines (NTP)` };
}

/** Every key that the database names must be there, and must open what it sealed. */
async function checkKeys(config: Config, storage: Storage): Promise<Omit<Finding, 'check'> | string> {
  const count = await storage.first<{ count: number }>(sql`select count(*) as count from data_keys`);
  const none = config.secretKeys.length === 0 && !existsSync(keyFile(config));
  if (none && count?.count === 0) return { state: 'note', message: 'there is none yet: it is made when it is needed' };
  await ensureKeys(config, storage);
  const vault = createVault(createKeyRing(config));
  await loadEndpoints({ storage, vault, now: Date.now() });
  const item = await storage.first<{ id: number; data_key_id: string; credentials: string }>(
    sql`select id, data_key_id, credentials from items where credentials is not null order by id desc limit 1`,
  );
  if (item) await vault.open(storage, item.data_key_id, { table: 'items', column: 'credentials', id: item.id }, item.credentials);
  return `${count?.count ?? 0} data keys, all under keys that are here; sealed values open`;
}
