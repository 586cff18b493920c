/**
 * A receiver in a process of its own, as cheap as one can be: it reads HTTP/1.1 requests off the socket and answers 200,
 * or as its path says: `/hang…` never answers, `/500…` and `/429…` answer so.
 * Sends its port to its parent; on the message `report` it answers with when each event arrived, and forgets.
 */
import { createServer } from 'node:net';

const answer = (line: string) => Buffer.from(`HTTP/1.1 ${line}\r\ncontent-length: 0\r\n\r\n`);
const OK = answer('200 OK');
const ANSWERS = new Map([
  ['500', answer('500 Internal Server Error')],
  ['429', answer('429 Too Many Requests')],
]);
const HEAD_END = '\r\n\r\n';

let arrivals: [path: string, id: string, atNs: string][] = [];
/** Only the latency runs ask for times; they would cost the throughput runs. */
const timed = process.argv.includes('--timed');
const port = Number(process.argv.find((argument) => argument.startsWith('--port='))?.slice('--port='.length) ?? 0);

/** A part of a text keeps all of it in memory: 10,000 requests of a kilobyte made the collector stop us for 50 ms. */
const ofItsOwn = (text: string) => Buffer.from(text, 'latin1').toString('latin1');

const server = createServer({ noDelay: true }, (socket) => {
  let rest = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    rest += chunk.toString('latin1');
    for (;;) {
      const headEnd = rest.indexOf(HEAD_END);
      if (headEnd === -1) return;
      const head = rest.slice(0, headEnd);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      const end = headEnd + HEAD_END.length + length;
      if (rest.length < end) return;
      rest = rest.slice(end);
      const path = head.slice(head.indexOf('/') + 1, head.indexOf(' HTTP/'));
      if (timed) arrivals.push([ofItsOwn(path), ofItsOwn(/webhook-id: (\S+)/i.exec(head)?.[1] ?? ''), String(process.hrtime.bigint())]);
      if (!path.startsWith('hang')) socket.write(ANSWERS.get(path.slice(0, 3)) ?? OK);
    }
  });
});

server.listen(port, '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
});
process.on('message', (message) => {
  if (message !== 'report') return;
  process.send?.({ arrivals });
  arrivals = [];
});
process.on('disconnect', () => process.exit());
