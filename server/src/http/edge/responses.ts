/** Answers: compact JSON, the headers of the contract's section 2.6, and the flat error of 2.4. */
import type { MiddlewareHandler } from 'hono';
import { ERRORS, type Refusal } from '../../base/errors.ts';

export function json(body: unknown, status = 200): Response {
  return jsonText(JSON.stringify(body), status);
}

/** For a text that is JSON already. */
export function jsonText(text: string, status = 200): Response {
  return new Response(text, {
    status,
    headers: { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(text)) },
  });
}

export function noContent(): Response {
  return new Response(null, { status: 204 });
}

/** An extension of the wire: where the receipt of an erasure is found (`/api/v1/erasures`). */
const ERASURE_HEADER = 'Pontage-Erasure';

/** `receipt` is null where there was nothing to erase. */
export function erased(receipt: string | null): Response {
  return new Response(null, { status: 204, headers: receipt === null ? {} : { [ERASURE_HEADER]: receipt } });
}

export function refusalResponse(refusal: Refusal, documentationUrl: string | null): Response {
  const response = json(
    {
      type: refusal.type,
      message: refusal.message,
      documentation_url: documentationUrl === null ? null : `${documentationUrl}#${refusal.type}`,
    },
    ERRORS[refusal.type].status,
  );
  for (const [name, value] of Object.entries(refusal.headers)) response.headers.set(name, value);
  return response;
}

const HEADERS: readonly (readonly [string, string])[] = [
  ['Cache-Control', 'no-cache, no-store, max-age=0, must-revalidate'],
  ['Content-Security-Policy', "default-src 'self';"],
  ['Expires', '0'],
  ['Pragma', 'no-cache'],
  ['Referrer-Policy', 'strict-origin-when-cross-origin'],
  ['Server', 'Pontage'],
  ['Vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'],
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'DENY'],
  ['X-Robots-Tag', 'noindex'],
  ['X-Xss-Protection', '1; mode=block'],
];

/** HSTS only where the public address is https: on plain http a browser ignores it, and on a laptop it would do harm. */
export function standardHeaders(publicUrl: string): MiddlewareHandler {
  const secure = publicUrl.startsWith('https:');
  return async (c, next) => {
    await next();
    for (const [name, value] of HEADERS) c.res.headers.set(name, value);
    if (secure) c.res.headers.set('Strict-Transport-Security', 'max-age=31536000; includeSubDomains; preload;');
  };
}

type PageSource = 'connect' | 'img' | 'script' | 'style';

/** For pages in a browser, which load these kinds of things from the server itself and nothing else; not kept, and not in frames. */
export function pageHeaders(sources: readonly PageSource[]): MiddlewareHandler {
  const own = sources.map((kind) => `${kind}-src 'self'; `).join('');
  return async (c, next) => {
    await next();
    c.header('Content-Security-Policy', `default-src 'none'; ${own}form-action 'self'; base-uri 'none'; frame-ancestors 'none'`);
    c.header('Cache-Control', 'no-store');
    c.header('Referrer-Policy', 'no-referrer');
    c.header('X-Content-Type-Options', 'nosniff');
    c.header('X-Frame-Options', 'DENY');
  };
}
