/** The two people of the demonstration: the application's server, which uses the API, and the user, who uses the pages. */
import { request as send } from 'undici';
import { OperatorError } from '../config.ts';

const DEMO_BANK_ID = '574';
const POLL_MS = 150;

type Application = { clientId: string; clientSecret: string };

/** A user, their token and a Connect link, by the three calls that an integration makes. */
export async function createUserLink(baseUrl: string, { clientId, clientSecret }: Application, signal: AbortSignal): Promise<string> {
  const call = async (path: string, body: object, token?: string) => {
    const response = await send(`${baseUrl}${path}`, {
      method: 'POST',
      headers: {
        'bridge-version': '2021-06-01',
        'client-id': clientId,
        'client-secret': clientSecret,
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(body),
      signal,
    });
    const text = await response.body.text();
    if (response.statusCode >= 300) throw new OperatorError(`POST ${path} answered ${response.statusCode}: ${text}`);
    return JSON.parse(text) as Record<string, string>;
  };
  const user = await call('/v2/users', { external_user_id: 'demonstration' });
  const { access_token: token } = await call('/v2/authenticate', { user_uuid: user.uuid });
  const { redirect_url: link } = await call('/v2/connect/items/add', {}, token);
  if (link === undefined) throw new OperatorError('The API gave no Connect link.');
  return link;
}

/** Walks the pages as a browser without JavaScript does. Answers the heading of the last one. */
export async function connectDemoBank(link: string, signal: AbortSignal): Promise<{ heading: string }> {
  const browser = createBrowser(link, signal);
  await browser.open(link);
  await browser.submit({});
  await browser.submit({ bank_id: DEMO_BANK_ID });
  await browser.submit({ USER: 'success', PWD: 'any password' });
  while (browser.waits()) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    signal.throwIfAborted();
    await browser.open(link);
  }
  return { heading: browser.heading() };
}

/** Holds one page and its cookies. */
function createBrowser(start: string, signal: AbortSignal) {
  const cookies = new Map<string, string>();
  let page = '';
  let address = start;

  async function fetchPage(url: string, form: Record<string, string> | null): Promise<void> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { accept: 'text/html', 'accept-language': 'en', ...(cookie === '' ? {} : { cookie }) };
    const response = await send(
      url,
      form === null
        ? { method: 'GET', headers, signal }
        : {
            method: 'POST',
            headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded' },
            body: new URLSearchParams(form).toString(),
            signal,
          },
    );
    const text = await response.body.text();
    for (const line of [response.headers['set-cookie'] ?? []].flat()) {
      const [name, ...value] = (line.split(';')[0] ?? '').split('=');
      if (name) cookies.set(name, value.join('='));
    }
    const { location } = response.headers;
    if (response.statusCode >= 300 && response.statusCode < 400 && typeof location === 'string')
      return fetchPage(new URL(location, url).href, null);
    if (response.statusCode !== 200) throw new OperatorError(`The Connect page ${new URL(url).pathname} answered ${response.statusCode}.`);
    page = text;
    address = url;
  }

  return {
    open: (url: string) => fetchPage(url, null),
    /** Sends the page's first form that posts, with its hidden fields and what was typed. */
    async submit(typed: Record<string, string>) {
      const form = /<form\b[^>]*\bmethod="post"[^>]*>[\s\S]*?<\/form>/.exec(page)?.[0];
      const action = form && attribute(form, 'action');
      if (!form || action === undefined) throw new OperatorError(`The Connect page "${heading(page)}" has no form where one was expected.`);
      const hidden = [...form.matchAll(/<input\b[^>]*\btype="hidden"[^>]*>/g)].map(([input]) => [
        attribute(input, 'name') ?? '',
        attribute(input, 'value') ?? '',
      ]);
      await fetchPage(new URL(action, address).href, { ...(Object.fromEntries(hidden) as Record<string, string>), ...typed });
    },
    /** A page that asks for itself again is not the last one. */
    waits: () => /<meta http-equiv="refresh"/.test(page),
    heading: () => heading(page),
  };
}

function attribute(tag: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
  return value === undefined ? undefined : plainText(value);
}

function heading(page: string): string {
  const text = /<h1[^>]*>([\s\S]*?)<\/h1>/.exec(page)?.[1] ?? '';
  return plainText(text.replaceAll(/<[^>]*>/g, '')).trim();
}

function plainText(text: string): string {
  return text.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}
