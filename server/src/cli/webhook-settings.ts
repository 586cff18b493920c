/** The settings of a webhook on the command line: options read into them, and what may be shown of them. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { z } from 'zod';
import { DAY_MS, HOUR_MS, isoTimestamp, MINUTE_MS, parseDuration, SECOND_MS } from '../base/clock.ts';
import { OperatorError } from '../config.ts';
import { CONTENT_ALGORITHM, type Encryption, KEY_ALGORITHMS } from '../endpoints/encryption.ts';
import type { Endpoint } from '../endpoints/endpoints.ts';
import type { CustomHeader } from '../endpoints/headers.ts';
import type { EndpointSettings } from '../endpoints/settings.ts';

export type SettingOptions = {
  ordering?: string;
  concurrency?: string;
  rate?: string;
  deadline?: string;
  retryDelays?: string;
  silentAfter?: string;
  header?: string[];
  clientCertificate?: string;
  clientKey?: string;
  encryption?: string;
};

/** Takes the setting back to the server's default. */
const DEFAULT = 'default';

export function addSettingOptions(command: Command): Command {
  return command
    .option('--ordering <item|none>', 'item: events of an item one after another (the default); none: without waiting')
    .option('--concurrency <number>', 'requests under way at most, or "default"')
    .option('--rate <number>', 'requests per second at most, or "default" for no limit')
    .option('--deadline <duration>', 'how long an answer may take, e.g. 10s, or "default"')
    .option('--retry-delays <durations>', 'comma-separated, e.g. 5s,1m,1h, or "default"')
    .option('--silent-after <duration>', 'report silence after e.g. 24h, or "default" for never')
    .option('--header <header...>', '"Name: value", sent with each request; repeat for more, "default" for none')
    .option('--client-certificate <file>', 'PEM, for receivers that ask for mutual TLS, or "default" for none')
    .option('--client-key <file>', "the client certificate's private key, PEM")
    .option('--encryption <file>', 'JSON {"key":{public JWK},"alg":"RSA-OAEP-256"}, or "default" for none');
}

/** Only what was given. Throws {@link OperatorError}. */
export function readSettings(options: SettingOptions): Partial<EndpointSettings> {
  const certificate = readCertificate(options);
  return {
    ...(options.ordering === undefined ? {} : { ordering: readOrdering(options.ordering) }),
    ...given('concurrencyMax', options.concurrency, (text) => readNumber('--concurrency', text)),
    ...given('ratePerS', options.rate, (text) => readNumber('--rate', text)),
    ...given('deadlineMs', options.deadline, (text) => readDuration('--deadline', text)),
    ...given('retryDelaysMs', options.retryDelays, (text) => text.split(',').map((part) => readDuration('--retry-delays', part))),
    ...given('silentAfterMs', options.silentAfter, (text) => readDuration('--silent-after', text)),
    ...given('encryption', options.encryption, readEncryption),
    ...(options.header === undefined ? {} : { customHeaders: readHeaders(options.header) }),
    ...(certificate === undefined ? {} : { clientCertificate: certificate }),
  };
}

function given<Field extends keyof EndpointSettings>(
  field: Field,
  text: string | undefined,
  read: (text: string) => EndpointSettings[Field],
): Partial<EndpointSettings> {
  return text === undefined ? {} : { [field]: text === DEFAULT ? null : read(text) };
}

function readOrdering(text: string): EndpointSettings['ordering'] {
  if (text === DEFAULT) return 'item';
  if (text !== 'item' && text !== 'none') throw new OperatorError('--ordering must be item or none.', 2);
  return text;
}

function readNumber(option: string, text: string): number {
  const number = Number(text);
  if (text.trim() === '' || !Number.isFinite(number)) throw new OperatorError(`${option} "${text}" is no number.`, 2);
  return number;
}

function readDuration(option: string, text: string): number {
  const durationMs = parseDuration(text);
  if (durationMs === null) throw new OperatorError(`${option} "${text}" is no duration: write e.g. 30s, 2m, 6h or 1d.`, 2);
  return durationMs;
}

function readHeaders(texts: readonly string[]): CustomHeader[] {
  if (texts.length === 1 && texts[0] === DEFAULT) return [];
  return texts.map((text) => {
    const colon = text.indexOf(':');
    // The text is not repeated: it may hold a secret.
    if (colon < 1) throw new OperatorError('A --header is written "Name: value".', 2);
    return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
  });
}

function readCertificate({ clientCertificate, clientKey }: SettingOptions): EndpointSettings['clientCertificate'] | undefined {
  if (clientCertificate === undefined && clientKey === undefined) return undefined;
  if (clientCertificate === DEFAULT && clientKey === undefined) return null;
  if (clientCertificate === undefined || clientKey === undefined) {
    throw new OperatorError('Give --client-certificate and --client-key together.', 2);
  }
  return { certificate: readText(clientCertificate), key: readText(clientKey) };
}

const encryptionFile = z.object({
  key: z.looseObject({ kty: z.string() }),
  alg: z.enum(KEY_ALGORITHMS),
  enc: z.literal(CONTENT_ALGORITHM).default(CONTENT_ALGORITHM),
});

function readEncryption(file: string): Encryption {
  const form = `{"key":{…a public JWK…},"alg":"${KEY_ALGORITHMS.join('" or "')}","enc":"${CONTENT_ALGORITHM}"}`;
  try {
    return encryptionFile.parse(JSON.parse(readText(file)));
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(`${file} must hold JSON of the form ${form}.`, 2);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw new OperatorError(`The file ${file} cannot be read.`, 2);
  }
}

/** For people: one line for each setting. */
export function settingsLines(endpoint: Endpoint): string[] {
  const { encryption, clientCertificate, retryDelaysMs } = endpoint;
  const rows: [string, string][] = [
    ['Ordering', endpoint.ordering],
    ['Concurrency', endpoint.concurrencyMax === null ? DEFAULT : `at most ${endpoint.concurrencyMax}`],
    ['Rate', endpoint.ratePerS === null ? 'no limit' : `${endpoint.ratePerS} per second`],
    ['Deadline', endpoint.deadlineMs === null ? DEFAULT : durationText(endpoint.deadlineMs)],
    ['Retries after', retryDelaysMs === null ? DEFAULT : retryDelaysMs.map(durationText).join(', ')],
    ['Silent after', endpoint.silentAfterMs === null ? 'never reported' : durationText(endpoint.silentAfterMs)],
    ['Headers', endpoint.customHeaderNames.join(', ') || 'none'],
    ['Certificate', clientCertificate ? `${clientCertificate.subject}, until ${isoTimestamp(clientCertificate.expiresAt)}` : 'none'],
    ['Encryption', encryption ? `${encryption.alg} with ${encryption.enc}` : 'none'],
  ];
  return rows.map(([title, value]) => `  ${title.padEnd(14)}${value}`);
}

const UNITS: readonly [number, string][] = [
  [DAY_MS, 'd'],
  [HOUR_MS, 'h'],
  [MINUTE_MS, 'm'],
  [SECOND_MS, 's'],
];

/** In the form that the options take. */
function durationText(ms: number): string {
  const [unitMs, unit] = UNITS.find(([size]) => ms % size === 0) ?? [1, 'ms'];
  return `${ms / unitMs}${unit}`;
}
