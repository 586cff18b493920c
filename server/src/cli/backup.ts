/** Backup and restore of the embedded database: one consistent file. PostgreSQL has tools of its own, which know it better. */
import { chmodSync, copyFileSync, existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { type Config, databaseFile, loadConfig, OperatorError, serverLockFile } from '../config.ts';
import { makeDataFolder, newestSchema, openDatabase, schemaVersion } from '../database.ts';
import { closeCopy, damageOf } from '../storage/copies.ts';
import { openStorage } from '../storage/open.ts';
import { lockFile } from '../storage/sqlite.ts';
import { describe, print } from './command.ts';

type Json = { json?: boolean };

export function addBackupCommands(program: Command): void {
  describe(program, 'backup <file>', 'write the database to one file, also while the server runs', 'backup pontage-monday.db')
    .addHelpText('after', '\nSecrets in it are sealed: it is of use only with the secret key, which must be kept apart from it.')
    .action(async (name: string, options: Json) => {
      const config = embedded('backup', 'pg_dump --format=custom --file=pontage.dump "$DATABASE_URL"');
      const file = resolve(name);
      if (existsSync(file)) throw new OperatorError(`${file} exists already: choose another name.`);
      if (!existsSync(dirname(file))) throw new OperatorError(`The folder ${dirname(file)} does not exist.`);
      if (!existsSync(databaseFile(config))) throw new OperatorError(`There is no database in ${config.dataDir}: check PONTAGE_DATA_DIR.`);
      await writeBackup(config, file);
      const { size } = statSync(file);
      print(options, { file, bytes: size }, [
        `${file} holds the whole database (${size} bytes), as it was at one moment.`,
        'Keep the secret key apart from it: secrets in the file are sealed, and unreadable without the key.',
      ]);
    });

  describe(program, 'restore <file>', 'replace the database by a backup; the server must be stopped', 'restore pontage-monday.db').action(
    async (name: string, options: Json) => {
      const config = embedded('restore', 'pg_restore --clean --if-exists --dbname="$DATABASE_URL" pontage.dump');
      const file = resolve(name);
      await checkBackup(file);
      makeDataFolder(config);
      const lock = lockFile(serverLockFile(config));
      if (!lock) throw new OperatorError(`A server is running on ${config.dataDir}: stop it first.`);
      try {
        const previous = await replaceDatabase(config, file);
        print(options, { file: databaseFile(config), previous }, [
          `The database is restored from ${file}.`,
          ...(previous === null ? [] : [`What was there before is kept as ${previous}.`]),
          'It needs the secret key that was in use when the backup was made: npx pontage doctor tells.',
        ]);
      } finally {
        lock.release();
      }
    },
  );
}

/** Throws {@link OperatorError} (exit 2) on PostgreSQL, with the command to use there. */
function embedded(what: string, command: string): Config {
  const config = loadConfig('auto');
  if (config.databaseUrl === null) return config;
  throw new OperatorError(
    `${what} is for the embedded database. On PostgreSQL use its own tools: ${command}\nKeep the secret key apart from the copy.`,
    2,
  );
}

async function writeBackup(config: Config, file: string): Promise<void> {
  const storage = openDatabase(config);
  const partial = `${file}.partial`;
  try {
    await storage.backup?.(partial);
    closeCopy(partial);
    chmodSync(partial, 0o600);
    renameSync(partial, file);
  } catch (error) {
    rmSync(partial, { force: true });
    throw new OperatorError(`The backup could not be written: ${(error as Error).message}`);
  } finally {
    await storage.close();
  }
}

async function checkBackup(file: string): Promise<void> {
  if (!existsSync(file)) throw new OperatorError(`There is no file ${file}.`);
  const scratch = `${file}.checking`;
  copyFileSync(file, scratch);
  try {
    const damage = damageOf(scratch);
    if (damage !== null) throw new OperatorError(`${file} is damaged (${damage}): use another backup.`);
    const storage = openStorage({ file: scratch });
    const version = await schemaVersion(storage).finally(() => storage.close());
    if (version === 0) throw new OperatorError(`${file} is no backup of Pontage.`);
    if (version > newestSchema())
      throw new OperatorError(
        `${file} is of a newer Pontage (schema ${version}, this one knows ${newestSchema()}): restore it with that version.`,
      );
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(`${file} is no backup of Pontage: ${(error as Error).message}`);
  } finally {
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${scratch}${end}`, { force: true });
  }
}

/** The old database is put aside whole, then the new one takes its name at once. Answers where the old one is. */
async function replaceDatabase(config: Config, file: string): Promise<string | null> {
  const target = databaseFile(config);
  const incoming = `${target}.incoming`;
  copyFileSync(file, incoming);
  chmodSync(incoming, 0o600);
  let previous: string | null = null;
  if (existsSync(target)) {
    previous = `${target}.before-restore-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
    await writeBackup(config, previous).catch(() => renameSync(target, previous!));
  }
  for (const end of ['-wal', '-shm']) rmSync(`${target}${end}`, { force: true });
  renameSync(incoming, target);
  return previous;
}
