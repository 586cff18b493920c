/** The receiver of the demonstration: what a customer's own server does, with the SDK. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verify } from '@pontage/sdk';

const BODY_MAX_BYTES = 64 * 1024;

export type Received = { id: string; type: string; content: Readonly<Record<string, unknown>>; timestamp: number; verified: boolean };
export type Receiver = {
  url: string;
  useSecret(secret: string): void;
  /** Distinct webhooks. */
  count(): number;
  /** Waits for one more request; false when none comes in time. */
  next(limitMs: number): Promise<boolean>;
  /** Why the first request that did not verify did not, or null. */
  refused(): string | null;
  close(): Promise<void>;
};

export async function startReceiver(onReceived: (received: Received) => void): Promise<Receiver> {
  const seen = new Set<string>();
  const waiting = new Set<() => void>();
  let secret = '';
  let refusal: string | null = null;

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > BODY_MAX_BYTES) return request.destroy();
      chunks.push(chunk);
    }
    const id = String(request.headers['webhook-id'] ?? '');
    try {
      const event = verify(Buffer.concat(chunks), request.headers, secret);
      response.writeHead(200).end();
      // Deliveries are at least once: the id tells a repeat.
      if (!seen.has(id))
        onReceived({ id, type: event.type, content: event.content as Record<string, unknown>, timestamp: event.timestamp, verified: true });
    } catch (error) {
      response.writeHead(400).end();
      refusal ??= (error as Error).message;
      if (!seen.has(id)) onReceived({ id, type: 'unverified', content: {}, timestamp: 0, verified: false });
    }
    seen.add(id);
    for (const wake of waiting) wake();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks`,
    useSecret: (given) => {
      secret = given;
    },
    count: () => seen.size,
    next: (limitMs) =>
      new Promise((resolve) => {
        const wake = () => finish(true);
        const timer = setTimeout(() => finish(false), limitMs);
        waiting.add(wake);
        function finish(came: boolean) {
          clearTimeout(timer);
          waiting.delete(wake);
          resolve(came);
        }
      }),
    refused: () => refusal,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
