/** A user's browser without JavaScript: holds cookies, reads pages, and submits the forms that it finds in them. */
export type Visited = {
  status: number;
  headers: Headers;
  html: string;
  /** The text of the page's only `<h1>`; empty where there is none. */
  heading: string;
  /** Asks for itself again by itself. */
  waits: boolean;
  /** Addresses of links, by their text. */
  link(text: RegExp): string | null;
};

export type Visitor = {
  get(url: string, headers?: Record<string, string>): Promise<Visited>;
  head(url: string): Promise<Visited>;
  /** Posts exactly these fields, and does not follow the answer. */
  post(url: string, fields: Record<string, string> | FormData, headers?: Record<string, string>): Promise<Visited>;
  /** Fills in the page's form, posts it with its hidden fields, and follows the answer. */
  submit(page: Visited, fields: Record<string, string>, headers?: Record<string, string>): Promise<Visited>;
};

export function createVisitor(send: (request: Request) => Promise<Response>, base: string, language = 'en'): Visitor {
  const cookies = new Map<string, string>();

  async function visit(url: string, init: RequestInit, headers: Record<string, string> = {}): Promise<Visited> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const all = { 'accept-language': language, ...(cookie === '' ? {} : { cookie }), ...headers };
    const response = await send(new Request(new URL(url, base), { ...init, headers: all, redirect: 'manual' }));
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';');
      cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1));
    }
    return read(response.status, response.headers, await response.text());
  }

  const visitor: Visitor = {
    get: (url, headers) => visit(url, { method: 'GET' }, headers),
    head: (url) => visit(url, { method: 'HEAD' }),
    post: (url, fields, headers) =>
      visit(url, { method: 'POST', body: fields instanceof FormData ? fields : new URLSearchParams(fields) }, headers),
    async submit(page, fields, headers) {
      const form = postForm(page.html);
      if (form === null) throw new Error(`the page "${page.heading}" has no form`);
      const answer = await visitor.post(form.action, { csrf: form.csrf, ...fields }, headers);
      const location = answer.headers.get('location');
      return answer.status === 303 && location !== null ? visitor.get(location) : answer;
    },
  };
  return visitor;
}

/** Where the page's POST form goes, and its token. */
export function postForm(html: string): { action: string; csrf: string } | null {
  const form = /<form\b[^>]*method="post"[^>]*action="([^"]*)"[^>]*>[\s\S]*?name="csrf" value="([^"]*)"/.exec(html);
  return form ? { action: plain(form[1]!), csrf: plain(form[2]!) } : null;
}

function read(status: number, headers: Headers, html: string): Visited {
  return {
    status,
    headers,
    html,
    heading: plain((/<h1[^>]*>([\s\S]*?)<\/h1>/.exec(html)?.[1] ?? '').replaceAll(/<[^>]*>/g, '')),
    waits: html.includes('http-equiv="refresh"'),
    link(text) {
      for (const [, href, inside] of html.matchAll(/<a\b[^>]*href="([^"]*)"[^>]*>([\s\S]*?)<\/a>/g)) {
        if (text.test(plain(inside!.replaceAll(/<[^>]*>/g, '')))) return plain(href!);
      }
      return null;
    },
  };
}

function plain(text: string): string {
  return text.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}
