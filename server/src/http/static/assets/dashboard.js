// The inbox, live. A message of the stream only says that something new is there; the event itself is taken from a
// fresh copy of the page, which the server rendered and escaped. Without this file the page works by reloading.

const QUIET_MS = 120; // a refresh sends several webhooks at once: one copy of the page serves them all

const list = document.getElementById('events');
const live = document.getElementById('live');
const liveWords = document.getElementById('live-words');
const known = new Set([...list.children].map((row) => row.dataset.eventId));
let _timer = null;

function say(state, words) {
  live.dataset.state = state;
  if (liveWords.textContent !== words) liveWords.textContent = words;
}

function replace(fresh, id) {
  const mine = document.getElementById(id);
  const theirs = fresh.getElementById(id);
  if (mine && theirs && mine.outerHTML !== theirs.outerHTML) mine.replaceWith(document.adoptNode(theirs));
}

async function update() {
  _timer = null;
  let fresh;
  try {
    const response = await fetch(document.body.dataset.page, { headers: { accept: 'text/html' } });
    if (!response.ok) throw new Error(String(response.status));
    fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
  } catch {
    _timer = setTimeout(update, 2000);
    return;
  }
  const shown = new Set([...list.children].map((row) => row.dataset.eventId));
  const rows = [...fresh.querySelectorAll('#events > li')].filter((row) => !shown.has(row.dataset.eventId));
  for (const row of rows) row.classList.add('arriving');
  // Newest first, and rows that are open stay open: only what is new goes in, above the rest.
  list.prepend(...rows.map((row) => document.adoptNode(row)));
  for (const id of ['kinds', 'clock', 'empty']) replace(fresh, id);
}

const stream = new EventSource(document.body.dataset.stream);
stream.addEventListener('open', () => say('on', 'Live'));
stream.addEventListener('error', () => say('off', 'Connection lost, trying again…'));
stream.addEventListener('message', (message) => {
  const id = String(JSON.parse(message.data).id);
  if (known.has(id)) return;
  known.add(id);
  _timer ??= setTimeout(update, QUIET_MS);
});
