/** The pages' own files, served from memory: exactly the ones listed here, nothing else of the disk. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Context, Hono } from 'hono';

/** Paths below `/static/`. */
export const ASSET_PATHS = [
  'base.css',
  'connect.css',
  'dashboard.css',
  'dashboard.js',
  'favicon.svg',
  'banks/demo-bank.svg',
  'banks/statement-files.svg',
] as const;

/** File names carry no digest, so a browser may trust its copy only as long as an upgrade may look odd. */
const CACHE_SECONDS = 300;

const CONTENT_TYPES: Record<string, string> = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/**
 * A Hono application with one GET (and HEAD) route per asset, to be mounted with `.route('/static', staticAssets())`.
 * Reads the files once, here; throws if one is missing, so that a broken installation fails at start.
 */
export function staticAssets(): Hono {
  const application = new Hono();
  for (const path of ASSET_PATHS) {
    const body = new Uint8Array(readFileSync(new URL(`./assets/${path}`, import.meta.url)));
    const headers = headersOf(path, body);
    application.get(`/${path}`, (context) => answer(context, body, headers));
  }
  return application;
}

type AssetHeaders = { etag: string; 'content-type': string; [name: string]: string };

function headersOf(path: string, body: Uint8Array): AssetHeaders {
  const kind = path.slice(path.lastIndexOf('.') + 1);
  return {
    'content-type': CONTENT_TYPES[kind] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
    'cache-control': `public, max-age=${CACHE_SECONDS}, must-revalidate`,
    'x-content-type-options': 'nosniff',
    // A bank's logo is also shown by the applications, from `logo_url`; the rest is for our pages alone.
    'cross-origin-resource-policy': kind === 'svg' ? 'cross-origin' : 'same-origin',
    // An SVG that is opened as a page must not run anything.
    'content-security-policy': "default-src 'none'; sandbox",
  };
}

function answer(context: Context, body: Uint8Array<ArrayBuffer>, headers: AssetHeaders): Response {
  if (matches(context.req.header('if-none-match'), headers.etag)) {
    const { 'content-type': _, ...rest } = headers;
    return context.body(null, 304, rest);
  }
  return context.body(body, 200, { ...headers, 'content-length': String(body.byteLength) });
}

/** If-None-Match compares weakly (RFC 9110, 13.1.2): a proxy that compressed the body marks our tag with `W/`. */
function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((candidate) => candidate.trim() === '*' || candidate.trim().replace(/^W\//, '') === etag);
}
