/** Who calls: the application of a request, by the two headers of its credentials, and how often it may. */
import type { Context } from 'hono';
import { type Application, authenticateApplication } from '../../access/applications.ts';
import type { RateLimit } from '../../access/limits.ts';
import { Refusal } from '../../base/errors.ts';
import type { Reader } from '../../storage/storage.ts';

/** `application` counts by application id, `unauthenticated` by the caller's address. */
export type CallerLimits = { application: RateLimit; unauthenticated: RateLimit };

export async function identifyApplication(
  c: Context,
  { storage, clientAddress }: { storage: Reader; clientAddress(c: Context): string },
  limits: CallerLimits,
): Promise<Application> {
  const clientId = c.req.header('Client-Id') ?? '';
  const clientSecret = c.req.header('Client-Secret') ?? '';
  const application = await authenticateApplication(storage, clientId, clientSecret);
  if (!application) {
    limits.unauthenticated.take(clientAddress(c));
    throw new Refusal('invalid_client_credentials');
  }
  limits.application.take(application.id);
  return application;
}
