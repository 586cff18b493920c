/** How an endpoint is delivered to: what its owner may set, and within which limits. Pure. */
import { DAY_MS, HOUR_MS, SECOND_MS } from '../base/clock.ts';
import { type CertificateSummary, type ClientCertificate, certificateFault } from './certificate.ts';
import { type Encryption, encryptionFault } from './encryption.ts';
import { type CustomHeader, headersFault } from './headers.ts';
import {
  CONCURRENCY_MAX,
  checkRetryDelays,
  DEADLINE_MAX_MS,
  DEADLINE_MIN_MS,
  RATE_PER_S_MAX,
  RATE_PER_S_MIN,
  SILENT_AFTER_MAX_MS,
  SILENT_AFTER_MIN_MS,
} from './limits.ts';

/** Null: the default of the server. `silentAfterMs` null: silence is never reported. */
export type PlainSettings = {
  /** `item`: events of an item one after another; `none`: without waiting. */
  ordering: 'item' | 'none';
  concurrencyMax: number | null;
  /** Requests per second. */
  ratePerS: number | null;
  deadlineMs: number | null;
  /** Before the second attempt, before the third, and so on. */
  retryDelaysMs: readonly number[] | null;
  silentAfterMs: number | null;
  /** Null: bodies are sent as they are. */
  encryption: Encryption | null;
};
/** As given by the owner, and as delivery uses them. */
export type EndpointSettings = PlainSettings & { customHeaders: readonly CustomHeader[]; clientCertificate: ClientCertificate | null };
/** What may be shown: no value of a header, no key. */
export type ShownSettings = PlainSettings & { customHeaderNames: readonly string[]; clientCertificate: CertificateSummary | null };
export type SettingField = keyof EndpointSettings;

export const DEFAULT_SETTINGS: EndpointSettings = {
  ordering: 'item',
  concurrencyMax: null,
  ratePerS: null,
  deadlineMs: null,
  retryDelaysMs: null,
  silentAfterMs: null,
  encryption: null,
  customHeaders: [],
  clientCertificate: null,
};

/** The first field that cannot be, with a sentence; null when all is well. `now` is epoch milliseconds. */
export function settingsFault(settings: Partial<EndpointSettings>, now: number): { field: SettingField; sentence: string } | null {
  const checks: readonly [SettingField, string | null][] = [
    ['ordering', orderingFault(settings.ordering)],
    [
      'concurrencyMax',
      numberFault(settings.concurrencyMax, { min: 1, max: CONCURRENCY_MAX, whole: true, what: 'The concurrency', unit: 'requests' }),
    ],
    [
      'ratePerS',
      numberFault(settings.ratePerS, {
        min: RATE_PER_S_MIN,
        max: RATE_PER_S_MAX,
        whole: false,
        what: 'The rate',
        unit: 'requests per second',
      }),
    ],
    ['deadlineMs', durationFault(settings.deadlineMs, { min: DEADLINE_MIN_MS, max: DEADLINE_MAX_MS, what: 'The deadline of a request' })],
    ['retryDelaysMs', settings.retryDelaysMs ? checkRetryDelays(settings.retryDelaysMs) : null],
    [
      'silentAfterMs',
      durationFault(settings.silentAfterMs, { min: SILENT_AFTER_MIN_MS, max: SILENT_AFTER_MAX_MS, what: 'The time of silence' }),
    ],
    ['encryption', settings.encryption ? encryptionFault(settings.encryption) : null],
    ['customHeaders', settings.customHeaders ? headersFault(settings.customHeaders) : null],
    ['clientCertificate', settings.clientCertificate ? certificateFault(settings.clientCertificate, now) : null],
  ];
  for (const [field, sentence] of checks) if (sentence !== null) return { field, sentence };
  return null;
}

function orderingFault(ordering: string | undefined): string | null {
  return ordering === undefined || ordering === 'item' || ordering === 'none' ? null : 'The ordering must be "item" or "none".';
}

type NumberLimits = { min: number; max: number; whole: boolean; what: string; unit: string };

function numberFault(value: number | null | undefined, { min, max, whole, what, unit }: NumberLimits): string | null {
  if (value === null || value === undefined) return null;
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return null;
  return `${what} must be ${whole ? 'a whole number' : 'a number'} of ${unit} from ${min} to ${max}.`;
}

function durationFault(value: number | null | undefined, { min, max, what }: { min: number; max: number; what: string }): string | null {
  if (value === null || value === undefined) return null;
  return Number.isInteger(value) && value >= min && value <= max ? null : `${what} must be from ${inWords(min)} to ${inWords(max)}.`;
}

const UNITS: readonly [number, string][] = [
  [DAY_MS, 'days'],
  [HOUR_MS, 'hours'],
  [SECOND_MS, 'seconds'],
];

function inWords(ms: number): string {
  const [unitMs, name] = UNITS.find(([size]) => ms >= size && ms % size === 0) ?? [1, 'milliseconds'];
  return ms === unitMs ? `1 ${name.slice(0, -1)}` : `${ms / unitMs} ${name}`;
}
