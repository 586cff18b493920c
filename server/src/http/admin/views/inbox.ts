/**
 * The placeholder dashboard of development mode: the built-in inbox, live. The page is complete without
 * JavaScript; `/static/dashboard.js` listens to the stream and takes what is new from a fresh copy of this page,
 * so that an event is rendered here and nowhere else.
 */
import { html } from 'hono/html';
import type { HtmlEscapedString } from 'hono/utils/html';
import { EVENT_KINDS, type EventContent, eventSentence } from './sentences.ts';

/** One received webhook; also the JSON of one message of the stream. */
export type InboxEvent = {
  /** Unique within the inbox. */
  id: number | string;
  /** Epoch milliseconds. */
  receivedAt: number;
  /** Both signatures were right. */
  verified: boolean;
  type: string;
  content: EventContent;
  /** The event's own `timestamp`, epoch milliseconds. */
  timestamp: number;
  /** The body as it came, byte for byte. */
  body: string;
  /** The headers worth showing: signatures, ids, content type. */
  headers: Readonly<Record<string, string>>;
};

export type InboxProps = {
  applicationName: string;
  clientId: string;
  /** The sandbox's clock, epoch milliseconds. */
  clockAt: number;
  /** Goes back in the hidden field `csrf` of every form. */
  csrf: string;
  /** Newest first. */
  events: readonly InboxEvent[];
  /** Kinds seen since the inbox began, should `events` not go back that far. */
  kindsSeen?: readonly string[];
};

// Hono's tag may answer with a promise when a promise is put in; nothing here is one, and `context.html` takes both.
type Rendered = HtmlEscapedString | Promise<HtmlEscapedString>;

/** The whole page. Posts `days` (1 or 7) to `/dashboard/clock`, and nothing but `csrf` to `/dashboard/connect`. */
export function inbox(props: InboxProps): Rendered {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Inbox · Pontage</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex, nofollow">
<link rel="icon" href="/static/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/base.css">
<link rel="stylesheet" href="/static/dashboard.css">
<script src="/static/dashboard.js" defer></script>
</head>
<body data-stream="/dashboard/inbox/stream" data-page="/dashboard">
<a class="skip" href="#content">Skip to the events</a>
<header class="top">
<p class="brand"><img src="/static/favicon.svg" alt="" width="32" height="32"><span>Pontage</span></p>
<p class="mode">Development</p>
</header>
<div class="page">
<aside class="side" aria-label="Sandbox">
${connectPanel(props)}
${clockPanel(props)}
${kindsPanel(props)}
</aside>
<main id="content" tabindex="-1">
<div class="main-head">
<div>
<h1>Webhook inbox</h1>
<p class="soft">What your own server would receive, its signatures checked with the SDK.</p>
</div>
<p class="live" id="live" role="status"><span class="dot" aria-hidden="true"></span><span id="live-words">Reload to see new events</span></p>
</div>
${eventList(props.events)}
</main>
</div>
</body>
</html>
`;
}

function connectPanel(props: InboxProps): Rendered {
  return html`<section class="panel" aria-labelledby="connect-title">
<h2 id="connect-title">${props.applicationName}</h2>
<p class="soft">Client <code>${props.clientId}</code></p>
<form method="post" action="/dashboard/connect" target="_blank">
<input type="hidden" name="csrf" value="${props.csrf}">
<button class="primary" type="submit">Connect a bank<span class="unseen"> (opens in a new tab)</span></button>
</form>
<p class="soft small">Opens Connect in a new tab. Take the Demo Bank: any login and password will do.</p>
</section>`;
}

function clockPanel(props: InboxProps): Rendered {
  return html`<section class="panel" aria-labelledby="clock-title">
<h2 id="clock-title">Sandbox clock</h2>
<p class="clock" id="clock">${moment(props.clockAt)}</p>
<form class="pair" method="post" action="/dashboard/clock">
<input type="hidden" name="csrf" value="${props.csrf}">
<button type="submit" name="days" value="1">Advance a day</button>
<button type="submit" name="days" value="7">Advance a week</button>
</form>
<p class="soft small">Time moves on at the Demo Bank: payments are booked, accounts come and go.</p>
</section>`;
}

function kindsPanel(props: InboxProps): Rendered {
  const seen = new Set([...(props.kindsSeen ?? []), ...props.events.map((event) => event.type)]);
  const count = EVENT_KINDS.filter((kind) => seen.has(kind)).length;
  const rows = EVENT_KINDS.map((kind) =>
    seen.has(kind)
      ? html`<li class="kind kind-seen"><span class="tick" aria-hidden="true">✓</span><code>${kind}</code><span class="unseen"> seen</span></li>`
      : html`<li class="kind"><span class="tick" aria-hidden="true"></span><code>${kind}</code><span class="unseen"> not seen yet</span></li>`,
  );
  return html`<section class="panel" id="kinds" aria-labelledby="kinds-title">
<h2 id="kinds-title">${count} of ${EVENT_KINDS.length} kinds seen</h2>
<progress value="${count}" max="${EVENT_KINDS.length}" aria-labelledby="kinds-title"></progress>
<ul>${rows}</ul>
</section>`;
}

function eventList(events: readonly InboxEvent[]): Rendered {
  return html`<p class="empty" id="empty"${events.length > 0 && html` hidden`}>Nothing has arrived yet. Connect a bank, and the first webhooks come within seconds.</p>
<ol class="events" id="events" aria-label="Webhooks, newest first">
${events.map(eventRow)}
</ol>`;
}

function eventRow(event: InboxEvent): Rendered {
  const headers = Object.entries(event.headers).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`);
  return html`<li class="event" data-event-id="${event.id}">
<p class="event-line"><code class="badge ${badgeTone(event.type)}">${event.type}</code><span class="sentence">${eventSentence(event.type, event.content)}</span></p>
<p class="event-facts"><time datetime="${new Date(event.receivedAt).toISOString()}">${time(event.receivedAt)}</time><span class="${event.verified ? 'verified' : 'unverified'}">${event.verified ? 'Signature verified' : 'Signature NOT verified'}</span></p>
<details><summary>Raw webhook<span class="unseen"> ${event.type}, ${String(event.id)}</span></summary>
<dl class="headers">${headers}</dl>
<pre tabindex="0">${pretty(event.body)}</pre>
</details>
</li>
`;
}

/** The tone is one of our own class names, never the type itself, which comes from outside. */
function badgeTone(type: string): string {
  if (type === 'item.account.deleted') return 'badge-deleted';
  if (type === 'item.account.updated') return 'badge-updated';
  if (type === 'item.refreshed') return 'badge-refreshed';
  return 'badge-created';
}

function pretty(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

const MOMENT = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  timeZone: 'UTC',
});

function moment(at: number): string {
  return `${MOMENT.format(at)} UTC`;
}

function time(at: number): string {
  return `${new Date(at).toISOString().slice(11, 19)} UTC`;
}
