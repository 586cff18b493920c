/**
 * The configuration: the only place that reads the environment. Everything is parsed once, and every problem is told
 * at once, each with what to do.
 */
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { type PortRange, parsePorts, parseRange } from './endpoints/addresses.ts';

export const VERSION = '0.1.0';

/** Shown in the documentation, and so known to everybody. */
export const EXAMPLE_SECRET_KEY = 'replace-me-with-the-output-of-openssl-rand-base64-32';
const SECRET_KEY_CHARACTERS_MIN = 32;
/** It opens counts, no data; still nobody may guess it. */
const METRICS_TOKEN_CHARACTERS_MIN = 16;
/** Random keys of 32 characters, hexadecimal ones too, practically never have fewer distinct ones. */
const SECRET_KEY_DISTINCT_MIN = 8;
const SECRET_KEY_WORDS = /change-?me|replace-?me|example|password/i;
const MAKE_A_KEY = 'make one with: openssl rand -base64 32';
/** Of `committed_at`. Long enough to find out what went wrong last month, and to replay it. */
const RETENTION_DAYS = 30;
/** A year, and the weeks in which somebody asks about it. */
const HISTORY_DAYS = 400;
/** As long as an event may be kept for a webhook that has not had it: its reasons must still be there. */
const HISTORY_DAYS_MIN = 90;
/** A name with more slips of the keyboard than this is another name. */
const SUGGESTION_DISTANCE_MAX = 4;

export type Mode = 'development' | 'production';
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export type Config = {
  mode: Mode;
  host: string;
  /** 0 takes any free port. */
  port: number;
  /** Absolute. */
  dataDir: string;
  databaseUrl: string | null;
  /** The first wraps, all unwrap; empty where the key comes from the data folder. */
  secretKeys: readonly string[];
  /** Without a slash at its end; null where the address that is listened on will do. */
  publicUrl: string | null;
  /** CIDR ranges of proxies whose `X-Forwarded-For` is believed. */
  trustedProxies: readonly string[];
  logLevel: LogLevel;
  /** CIDR ranges of webhook targets that the operator allows beside public addresses. */
  allowedTargets: readonly string[];
  /** Days that events and their attempts are kept after their commit. */
  retentionDays: number;
  historyDays: number;
  /** Whoever scrapes `/metrics` shows it; null: nobody may, but this machine in development mode. */
  metricsToken: string | null;
  /** The base address of an OpenTelemetry collector (OTLP over HTTP), or null. */
  otlpEndpoint: string | null;
  /** CIDR ranges that no webhook reaches, also where they are allowed otherwise. */
  deniedTargets: readonly string[];
  /** Ports of webhooks; null: those of web servers. */
  allowedPorts: readonly PortRange[] | null;
  /** `http://host:port` of a proxy through which webhooks leave. */
  egressProxy: string | null;
};

export const databaseFile = (config: Pick<Config, 'dataDir'>): string => join(config.dataDir, 'pontage.db');
export const keyFile = (config: Pick<Config, 'dataDir'>): string => join(config.dataDir, 'secret.key');
export const serverLockFile = (config: Pick<Config, 'dataDir'>): string => join(config.dataDir, 'server.lock');

/** Scenarios of the operator's own, for the Demo Bank: `NAME.yaml`. It need not exist. */
export const scenariosFolder = (config: Pick<Config, 'dataDir'>): string => join(config.dataDir, 'scenarios');

/** A failure that whoever runs the program can act on: its message is the whole story, and the exit code is 1 or 2 (usage). */
export class OperatorError extends Error {
  override readonly name = 'OperatorError';
  readonly exitCode: 1 | 2;

  constructor(sentence: string, exitCode: 1 | 2 = 1) {
    super(sentence);
    this.exitCode = exitCode;
  }
}

type Environment = Readonly<Record<string, string | undefined>>;
export type ConfigResult = { ok: true; config: Config } | { ok: false; problems: string[] };

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const ranges = (example: string) =>
  list.superRefine((texts, context) => {
    for (const text of texts) {
      if (!parseRange(text)) context.addIssue({ code: 'custom', message: `"${text}" is no address range: write CIDR, e.g. ${example}` });
    }
  });

const schema = z.object({
  PONTAGE_PORT: z
    .string()
    .regex(/^\d{1,5}$/, 'write a port from 1 to 65535, or 0 for any free one')
    .transform(Number)
    .refine((port) => port <= 65_535, 'write a port from 1 to 65535, or 0 for any free one')
    .optional(),
  PONTAGE_HOST: z
    .string()
    .regex(/^[0-9A-Za-z.:_-]+$/, 'write the address to listen on, e.g. 127.0.0.1 or 0.0.0.0')
    .optional(),
  PONTAGE_DATA_DIR: z.string().optional(),
  DATABASE_URL: z
    .string()
    .regex(
      /^postgres(?:ql)?:\/\//,
      'write a PostgreSQL address, e.g. postgres://user:password@host:5432/pontage, or leave it out for SQLite',
    )
    .refine((text) => URL.canParse(text), 'the address cannot be read: escape special characters of the password, e.g. @ as %40')
    .optional(),
  PONTAGE_SECRET_KEY: list
    .superRefine((keys, context) => {
      keys.forEach((key, index) => {
        const fault = secretKeyFault(key);
        if (fault) context.addIssue({ code: 'custom', message: `${keys.length > 1 ? `key ${index + 1} of ${keys.length} ` : ''}${fault}` });
      });
    })
    .optional(),
  PONTAGE_PUBLIC_URL: z
    .string()
    .refine(isBaseUrl, 'write the address under which users and applications reach this server, e.g. https://banks.example.com')
    .transform((text) => text.replace(/\/+$/, ''))
    .optional(),
  PONTAGE_TRUSTED_PROXIES: ranges('10.0.0.0/8').optional(),
  PONTAGE_LOG_LEVEL: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'], { error: 'write one of debug, info, warn, error, silent' })
    .optional(),
  PONTAGE_ALLOWED_TARGETS: ranges('10.1.2.0/24').optional(),
  PONTAGE_METRICS_TOKEN: z
    .string()
    .min(
      METRICS_TOKEN_CHARACTERS_MIN,
      `write at least ${METRICS_TOKEN_CHARACTERS_MIN} characters, e.g. the output of: openssl rand -hex 16`,
    )
    .optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().refine(isBaseUrl, 'write the address of a collector, e.g. http://localhost:4318').optional(),
  PONTAGE_RETENTION_DAYS: z
    .string()
    .regex(/^[1-9]\d{0,3}$/, `write how many days events are kept, from 1 to 9999 (${RETENTION_DAYS} when it is absent)`)
    .transform(Number)
    .optional(),
  PONTAGE_HISTORY_DAYS: z
    .string()
    .regex(
      /^[1-9]\d{0,4}$/,
      `write how many days the records of refreshes are kept, from ${HISTORY_DAYS_MIN} on (${HISTORY_DAYS} when it is absent)`,
    )
    .transform(Number)
    .optional(),
  PONTAGE_DENIED_TARGETS: ranges('203.0.113.0/24').optional(),
  PONTAGE_ALLOWED_PORTS: list
    .superRefine((texts, context) => {
      for (const text of texts) {
        if (!parsePorts(text)) context.addIssue({ code: 'custom', message: `"${text}" is no port: write e.g. 443,8443,9000-9010` });
      }
    })
    .transform((texts) => texts.map(parsePorts).filter((range) => range !== null))
    .optional(),
  PONTAGE_EGRESS_PROXY: z
    .string()
    .refine(isProxyUrl, 'write the address of the proxy through which webhooks leave, e.g. http://proxy.internal:3128')
    .optional(),
});

/** Variables that are set but empty count as absent: that is how compose files and shells say "not set". */
export function readConfig(environment: Environment, mode: Mode): ConfigResult {
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value.trim() !== ''));
  const parsed = schema.safeParse(set);
  const problems = [...unknownVariables(set)];
  if (!parsed.success) problems.push(...parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`));
  if (mode === 'production') {
    if (!set.PONTAGE_SECRET_KEY) problems.push(`PONTAGE_SECRET_KEY is not set: it seals credentials and secrets at rest; ${MAKE_A_KEY}`);
    if (!set.PONTAGE_PUBLIC_URL) {
      problems.push('PONTAGE_PUBLIC_URL is not set: write the address under which users reach this server, e.g. https://banks.example.com');
    }
  }
  if (parsed.success) problems.push(...historyFaults(parsed.data));
  if (problems.length > 0 || !parsed.success) return { ok: false, problems };
  const read = parsed.data;
  return {
    ok: true,
    config: {
      mode,
      host: read.PONTAGE_HOST ?? (mode === 'production' ? '0.0.0.0' : '127.0.0.1'),
      port: read.PONTAGE_PORT ?? 4280,
      dataDir: resolve(read.PONTAGE_DATA_DIR ?? '.pontage'),
      databaseUrl: read.DATABASE_URL ?? null,
      secretKeys: read.PONTAGE_SECRET_KEY ?? [],
      publicUrl: read.PONTAGE_PUBLIC_URL ?? null,
      trustedProxies: read.PONTAGE_TRUSTED_PROXIES ?? [],
      logLevel: read.PONTAGE_LOG_LEVEL ?? (mode === 'production' ? 'info' : 'warn'),
      allowedTargets: read.PONTAGE_ALLOWED_TARGETS ?? [],
      retentionDays: read.PONTAGE_RETENTION_DAYS ?? RETENTION_DAYS,
      historyDays: read.PONTAGE_HISTORY_DAYS ?? Math.max(HISTORY_DAYS, read.PONTAGE_RETENTION_DAYS ?? 0),
      metricsToken: read.PONTAGE_METRICS_TOKEN ?? null,
      otlpEndpoint: read.OTEL_EXPORTER_OTLP_ENDPOINT ?? null,
      deniedTargets: read.PONTAGE_DENIED_TARGETS ?? [],
      allowedPorts: read.PONTAGE_ALLOWED_PORTS ?? null,
      egressProxy: read.PONTAGE_EGRESS_PROXY ?? null,
    },
  };
}

/** Whoever can read an event can ask why it counts what it counts. */
function historyFaults(read: { PONTAGE_RETENTION_DAYS?: number | undefined; PONTAGE_HISTORY_DAYS?: number | undefined }): string[] {
  const least = Math.max(HISTORY_DAYS_MIN, read.PONTAGE_RETENTION_DAYS ?? RETENTION_DAYS);
  const days = read.PONTAGE_HISTORY_DAYS ?? Math.max(HISTORY_DAYS, least);
  return days < least ? [`PONTAGE_HISTORY_DAYS: write at least ${least}: the reasons of an event are kept as long as the event`] : [];
}

/**
 * The configuration of this process. Commands beside a server (`auto`) take the mode that the environment describes:
 * production is where a key and a public address are given, as `serve` asks for them. Throws {@link OperatorError}.
 */
export function loadConfig(mode: Mode | 'auto'): Config {
  const { env } = process;
  const result = readConfig(
    env,
    mode === 'auto' ? (env.PONTAGE_SECRET_KEY && env.PONTAGE_PUBLIC_URL ? 'production' : 'development') : mode,
  );
  if (result.ok) return result.config;
  const lines = result.problems.map((problem) => `  ${problem}`);
  throw new OperatorError(['The configuration has problems:', ...lines].join('\n'));
}

/** What is wrong with a secret key, or null. The key itself is never repeated. */
export function secretKeyFault(key: string): string | null {
  if (key === EXAMPLE_SECRET_KEY) return `is the example of the documentation, which everybody knows: ${MAKE_A_KEY}`;
  if (key.length < SECRET_KEY_CHARACTERS_MIN) return `has fewer than ${SECRET_KEY_CHARACTERS_MIN} characters: ${MAKE_A_KEY}`;
  const repeats = /^(.{1,16})\1+$/.test(key);
  const sequence = [...key].filter((character, index) => index > 0 && character.charCodeAt(0) - key.charCodeAt(index - 1) === 1).length;
  if (new Set(key).size < SECRET_KEY_DISTINCT_MIN || repeats || sequence > key.length / 2 || SECRET_KEY_WORDS.test(key)) {
    return `can be guessed: ${MAKE_A_KEY}`;
  }
  return null;
}

function isBaseUrl(text: string): boolean {
  const url = URL.parse(text);
  return (
    url !== null && (url.protocol === 'https:' || url.protocol === 'http:') && url.search === '' && url.hash === '' && url.username === ''
  );
}

function isProxyUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && url.protocol === 'http:' && url.hostname !== '' && url.pathname === '/' && url.search === '' && url.hash === '';
}

/** A misspelt variable would silently do nothing. `PONTAGE_TEST_…` belongs to the tests. */
function unknownVariables(environment: Environment): string[] {
  const known = Object.keys(schema.shape);
  return Object.keys(environment)
    .filter((name) => name.startsWith('PONTAGE_') && !name.startsWith('PONTAGE_TEST_') && !known.includes(name))
    .map((name) => {
      const [nearest] = known
        .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
        .sort((a, b) => a.distance - b.distance);
      const meant = nearest && nearest.distance <= SUGGESTION_DISTANCE_MAX ? `did you mean ${nearest.candidate}?` : 'remove it';
      return `${name} is not a variable of Pontage: ${meant}`;
    });
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
