/** A way to a database that can fall silent: connections stay open, and nothing passes any more, as where a machine or a network goes without a word. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type QuietWay = {
  /** The same database, through this way. */
  url: string;
  /** For all connections there are; later ones pass. */
  fallSilent(): void;
};

export async function openQuietWay(t: TestContext, databaseUrl: string): Promise<QuietWay> {
  const target = new URL(databaseUrl);
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from);
      from.on('error', () => {});
      from.on('data', (chunk) => to.write(chunk));
      from.on('close', () => to.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const way = new URL(databaseUrl);
  way.hostname = '127.0.0.1';
  way.port = String((server.address() as AddressInfo).port);
  return {
    url: way.href,
    fallSilent() {
      for (const socket of open) socket.removeAllListeners('data').resume();
    },
  };
}
