/** The typed form of Hono's `html` tag: every interpolated string is escaped, and only synchronous markup fits in. */
import { html } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';

export type Markup = HtmlEscapedString;

/** What a template may hold. `null` and `false` render nothing; strings are escaped for text and quoted attributes alike. */
export type Fragment = string | number | null | false | Markup | readonly Fragment[];

export function markup(strings: TemplateStringsArray, ...values: Fragment[]): Markup {
  const rendered = html(strings, ...values);
  if (rendered instanceof Promise) throw new TypeError('a view must render synchronously');
  return rendered;
}

const EXECUTABLE_PROTOCOLS = new Set(['javascript:', 'data:', 'vbscript:', 'blob:']);

/**
 * An address that is safe in `href`: anything but one that a browser would run. Custom schemes stay, because
 * the redirect address of a mobile application is one (`myapp://callback`). An unsafe address becomes `#`.
 */
export function linkAddress(address: string): string {
  const url = URL.parse(address, 'https://relative.invalid/');
  return url === null || EXECUTABLE_PROTOCOLS.has(url.protocol) ? '#' : address;
}
