/**
 * A receiver in a process of its own, as cheap as one can be: it reads HTTP/1.1 requests off the socket and answers 200.
 * Sends its port to its parent; on the message `report` it answers with when each event arrived, and forgets.
 */
import { createServer } from 'node:net';

const ANSWER = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
const HEAD_END = '\r\n\r\n';

let arrivals: [id: string, atNs: string][] = [];
/** Only the latency run asks for times; they would cost the throughput run. */
const timed = process.argv.includes('--timed');

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
      if (timed) arrivals.push([/webhook-id: (\S+)/i.exec(head)?.[1] ?? '', String(process.hrtime.bigint())]);
      socket.write(ANSWER);
    }
  });
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
});
process.on('message', (message) => {
  if (message !== 'report') return;
  process.send?.({ arrivals });
  arrivals = [];
});
process.on('disconnect', () => process.exit());
