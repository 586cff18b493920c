/** What may be given of a webhook, in the words of the wire, and as the endpoints' room knows it. */
import { z } from 'zod';
import { CONTENT_ALGORITHM, KEY_ALGORITHMS } from '../../endpoints/encryption.ts';
import type { EndpointFields } from '../../endpoints/fields.ts';

/** Ranges are checked where they are defined, and answered as sentences: here only the forms are. */
export const webhookChange = z.strictObject({
  name: z.string().optional(),
  url: z.string().optional(),
  events: z.array(z.string()).optional(),
  ordering: z.enum(['item', 'none'], 'must be item or none').optional(),
  concurrency_max: z.number().nullish(),
  rate_per_s: z.number().nullish(),
  deadline_ms: z.number().nullish(),
  retry_delays_ms: z.array(z.number()).nullish(),
  silent_after_ms: z.number().nullish(),
  custom_headers: z.array(z.strictObject({ name: z.string(), value: z.string() })).nullish(),
  client_certificate: z.strictObject({ certificate: z.string(), key: z.string() }).nullish(),
  encryption: z
    .strictObject({
      key: z.looseObject({ kty: z.string() }),
      alg: z.enum(KEY_ALGORITHMS),
      enc: z.literal(CONTENT_ALGORITHM).default(CONTENT_ALGORITHM),
    })
    .nullish(),
});

const WIRE_NAMES = {
  name: 'name',
  url: 'url',
  events: 'events',
  ordering: 'ordering',
  concurrencyMax: 'concurrency_max',
  ratePerS: 'rate_per_s',
  deadlineMs: 'deadline_ms',
  retryDelaysMs: 'retry_delays_ms',
  silentAfterMs: 'silent_after_ms',
  customHeaders: 'custom_headers',
  clientCertificate: 'client_certificate',
  encryption: 'encryption',
} as const satisfies Record<keyof EndpointFields, keyof z.infer<typeof webhookChange>>;

export function wireName(field: keyof EndpointFields): string {
  return WIRE_NAMES[field];
}

/** Only what was given; null takes a setting back to its default. */
export function readFields(body: z.infer<typeof webhookChange>): Partial<EndpointFields> {
  const headers = body.custom_headers;
  const given = {
    ...body,
    custom_headers: headers === undefined ? undefined : (headers ?? []).map(({ name, value }) => [name, value] as const),
  };
  const fields: Record<string, unknown> = {};
  for (const [field, name] of Object.entries(WIRE_NAMES)) if (given[name] !== undefined) fields[field] = given[name];
  return fields as Partial<EndpointFields>;
}
