/** The operator's egress proxy: a tunnel by CONNECT (RFC 9110, section 9.3.6) to an address that was checked before. */
import type { LookupAddress } from 'node:dns';
import { request } from 'node:http';
import type { Socket } from 'node:net';

/** `authorization` is the value of `Proxy-Authorization`, or null. */
export type EgressProxy = { hostname: string; port: number; authorization: string | null };

/** The proxy did not open the tunnel. */
export class ProxyRefused extends Error {
  readonly code = 'PONTAGE_PROXY_REFUSED';
  readonly status: number | null;

  constructor(status: number | null, cause?: unknown) {
    super('the egress proxy opened no tunnel', { cause });
    this.status = status;
  }
}

/** From the operator's `http://user:password@host:port`; its form was checked with the configuration. */
export function readProxy(address: string): EgressProxy {
  const url = new URL(address);
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return {
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port) || 80,
    authorization: url.username === '' ? null : `Basic ${Buffer.from(user).toString('base64')}`,
  };
}

/** `hold` is given the socket as soon as there is one, so that it can be ended. Throws {@link ProxyRefused}. */
export function tunnel(proxy: EgressProxy, target: LookupAddress, port: number, hold: (socket: Socket) => void): Promise<Socket> {
  const authority = `${target.family === 6 ? `[${target.address}]` : target.address}:${port}`;
  const headers: Record<string, string> = { host: authority };
  if (proxy.authorization !== null) headers['proxy-authorization'] = proxy.authorization;
  return new Promise((resolve, reject) => {
    const asking = request({ method: 'CONNECT', host: proxy.hostname, port: proxy.port, path: authority, headers, agent: false });
    asking.on('socket', hold);
    asking.on('error', (error) => reject(new ProxyRefused(null, error)));
    asking.on('connect', (response, socket: Socket, head: Buffer) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        return reject(new ProxyRefused(response.statusCode ?? null));
      }
      // A receiver speaks second: whatever came with the answer is the first of its bytes.
      if (head.length > 0) socket.unshift(head);
      // As in a connection without a proxy: errors come as its end.
      socket.on('error', () => {});
      return resolve(socket.setNoDelay(true));
    });
    asking.on('response', (response) => {
      response.destroy();
      reject(new ProxyRefused(response.statusCode ?? null));
    });
    asking.end();
  });
}
