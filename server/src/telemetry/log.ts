/** One wide line per unit of work. Secrets, tokens, IBANs and labels never reach a log: pass ids and counts. */
import pino, { type Logger } from 'pino';

export type Log = {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
};

export function createLog(level: 'debug' | 'info' | 'warn' | 'error' | 'silent', destination?: pino.DestinationStream): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers: { error: pino.stdSerializers.err } };
  const logger: Logger = destination ? pino(options, destination) : pino(options, pino.destination({ dest: 2, sync: true }));
  return logger;
}

export const silentLog: Log = { info() {}, warn() {}, error() {} };
