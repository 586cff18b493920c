import type { Command } from 'commander';
import { loadConfig } from '../config.ts';
import { newestSchema, openDatabase, prepareSchema } from '../database.ts';
import { describe, print } from './command.ts';

export function addMigrateCommand(program: Command): void {
  describe(program, 'migrate', 'bring the database up to date; servers do this at their start', 'migrate').action(
    async (options: { json?: boolean }) => {
      const storage = openDatabase(loadConfig('auto'));
      try {
        const applied = await prepareSchema(storage, 'always');
        print(options, { schema: newestSchema(), applied }, [
          applied.length === 0
            ? `The database is up to date (schema ${newestSchema()}).`
            : `Applied: ${applied.join(', ')}. The database is at schema ${newestSchema()}.`,
        ]);
      } finally {
        await storage.close();
      }
    },
  );
}
