/** A receiver that verifies and records everything. Each path is a webhook of its own, with its own way of answering. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verify } from '@pontage/sdk';

/** `steady` answers 200, `flaky` fails one in twenty, `slow` takes its time, `outages` is down for stretches. */
export const PATHS = ['steady', 'flaky', 'slow', 'outages'] as const;
export type Path = (typeof PATHS)[number];

/** One request, in the order of arrival; `sequence` is its header, null where there is none. */
export type Receipt = { id: string; accepted: boolean; sequence: number | null; body: string };

export type Receiver = {
  url(path: Path): string;
  /** Set before the first request. */
  secrets: Record<Path, string>;
  receipts: Record<Path, Receipt[]>;
  /** Signatures that are wrong. */
  problems: string[];
  /** Whether `outages` is down. */
  down: boolean;
  stop(): void;
};

const FLAKY_SHARE = 0.05;
const SLOW_MAX_MS = 60;

export async function startReceiver(random: () => number): Promise<Receiver> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const path = (request.url ?? '/').slice(1) as Path;
      const body = Buffer.concat(chunks);
      try {
        verify(body, request.headers, receiver.secrets[path]);
      } catch (error) {
        receiver.problems.push(`${path}: ${error}`);
      }
      const accepted = accepts(path);
      const header = request.headers['pontage-sequence'];
      receiver.receipts[path].push({
        id: String(request.headers['webhook-id']),
        accepted,
        sequence: header === undefined ? null : Number(header),
        body: body.toString(),
      });
      answer(path, response, accepted ? 200 : path === 'outages' ? 503 : 500);
    });
    request.on('error', () => {});
  });

  function accepts(path: Path): boolean {
    switch (path) {
      case 'flaky':
        return random() >= FLAKY_SHARE;
      case 'outages':
        return !receiver.down;
      case 'steady':
      case 'slow':
        return true;
      default:
        return path satisfies never;
    }
  }

  function answer(path: Path, response: ServerResponse, status: number) {
    response.statusCode = status;
    if (path === 'slow') setTimeout(() => response.end(), random() * SLOW_MAX_MS);
    else response.end();
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const receiver: Receiver = {
    url: (path) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`,
    secrets: { steady: '', flaky: '', slow: '', outages: '' },
    receipts: { steady: [], flaky: [], slow: [], outages: [] },
    problems: [],
    down: false,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
  return receiver;
}
