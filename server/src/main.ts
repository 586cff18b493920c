/** The way in: reads the command line, runs one command, and turns every failure into one readable sentence. */
import { CommanderError } from 'commander';
import { createProgram } from './cli/program.ts';
import { OperatorError } from './config.ts';

const USAGE_EXIT_CODE = 2;

// Whoever reads our output may stop reading (`| head`): that is no failure, and ends us.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

// The database, its backups and the key are their owner's alone, also in a folder that others may enter.
process.umask(0o077);

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  process.exitCode = report(error);
}

function report(error: unknown): number {
  // Commander has written its own sentence, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE_EXIT_CODE;
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return error instanceof OperatorError ? error.exitCode : 1;
}
