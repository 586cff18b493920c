/** One wide line per unit of work. Secrets, tokens, IBANs and labels never reach a log: pass ids and counts. */
import pino, { type Logger } from 'pino';

export type Log = {
  debug(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
};

/** PostgreSQL puts whole rows into `detail`: only what names the fault and its place in our code goes on. */
function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code } = error as { code?: unknown };
  return { type: error.name, message: error.message, ...(code === undefined ? {} : { code }), stack: error.stack };
}

export function createLog(level: 'debug' | 'info' | 'warn' | 'error' | 'silent', destination?: pino.DestinationStream): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers: { error: describeError } };
  const logger: Logger = destination ? pino(options, destination) : pino(options, pino.destination({ dest: 2, sync: true }));
  return logger;
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
