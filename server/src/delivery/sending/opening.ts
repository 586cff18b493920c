/**
 * Connections that reach only what the policy allows. Literals are checked first, because no lookup runs for them; names
 * by every address they resolve to; and the socket by the address it really has, before a byte is sent.
 */
import type { LookupAddress } from 'node:dns';
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';
import type { buildConnector } from 'undici';
import { type AddressPolicy, checkAddress, checkPort } from '../../endpoints/addresses.ts';
import type { ClientCertificate } from '../../endpoints/certificate.ts';
import { type Resolve, resolveBySystem } from '../../endpoints/lookups.ts';
import { TargetRefused } from './failure.ts';
import { type EgressProxy, tunnel } from './proxy.ts';

/** How far it came: what a deadline that ends meanwhile was spent on. */
export type OpeningPhase = 'dns' | 'connect' | 'tls' | 'open';

/** Each address of a name is tried this long while there are others. */
const ATTEMPT_TIMEOUT_MS = 1_000;
const KEEP_ALIVE_INITIAL_DELAY_MS = 60_000;

/** One connection on its way, and how long each part of it took; null for what was not needed or not reached. */
export class Opening {
  phase: OpeningPhase = 'dns';
  dnsMs: number | null = null;
  connectMs: number | null = null;
  tlsMs: number | null = null;
  /** What the receiver showed, also where it was refused. */
  certificate: PeerCertificate | null = null;
  aborted = false;
  private socket: Socket | null = null;
  private since = performance.now();

  /** Since the last lap. */
  lap(): number {
    const before = this.since;
    this.since = performance.now();
    return this.since - before;
  }

  /** The socket that ends when this is aborted. */
  hold<S extends Socket>(socket: S): S {
    this.socket = socket;
    return socket;
  }

  abort() {
    this.aborted = true;
    this.socket?.destroy();
  }
}

export type Opener = (opening: Opening, options: buildConnector.Options, callback: buildConnector.Callback) => void;

export type OpenerOptions = {
  policy: AddressPolicy;
  resolve?: Resolve;
  proxy: EgressProxy | null;
  clientCertificate: ClientCertificate | null;
};

/** For one endpoint: TLS sessions and certificates are never shared between endpoints. It has no deadline: abort the opening. */
export function createOpener({ policy, resolve = resolveBySystem, proxy, clientCertificate }: OpenerOptions): Opener {
  let session: Buffer | undefined;
  let context: SecureContext | undefined;
  let resolving: Promise<LookupAddress[]> | null = null;

  /** Connections that open together share one lookup. */
  function lookUp(hostname: string): Promise<LookupAddress[]> {
    resolving ??= resolve(hostname).finally(() => {
      resolving = null;
    });
    return resolving;
  }

  async function addressesOf(hostname: string): Promise<LookupAddress[]> {
    const family = isIP(hostname);
    const addresses = family === 0 ? await lookUp(hostname) : [{ address: hostname, family }];
    if (addresses.length === 0) throw Object.assign(new Error('no address'), { code: 'ENODATA' });
    // One bad address among good ones refuses the name: which of them is used is not ours to say.
    if (!addresses.every(({ address }) => checkAddress(address, policy))) throw new TargetRefused('the target is not allowed');
    return addresses;
  }

  async function open(opening: Opening, options: buildConnector.Options): Promise<Socket> {
    const hostname = options.hostname.replace(/^\[|\]$/g, '');
    const secure = options.protocol === 'https:';
    const port = Number(options.port) || (secure ? 443 : 80);
    if (!checkPort(port, hostname, policy)) throw new TargetRefused('the port is not allowed');
    const addresses = await addressesOf(hostname);
    if (isIP(hostname) === 0) opening.dnsMs = opening.lap();
    if (opening.aborted) throw new Error('aborted');
    opening.phase = 'connect';
    const socket = proxy
      ? await tunnel(proxy, preferred(addresses), port, (each) => opening.hold(each))
      : await connectTo(opening, hostname, addresses, port);
    opening.connectMs = opening.lap();
    if (!secure) return socket;
    opening.phase = 'tls';
    const encrypted = await encrypt(opening, socket, hostname);
    opening.tlsMs = opening.lap();
    return encrypted;
  }

  async function connectTo(opening: Opening, hostname: string, addresses: LookupAddress[], port: number): Promise<Socket> {
    const lookup: LookupFunction = (_, options, callback) => {
      if (options.all) callback(null, addresses);
      else callback(null, addresses[0]!.address, addresses[0]!.family);
    };
    const socket = opening.hold(
      connectTcp({
        host: hostname,
        port,
        lookup,
        autoSelectFamily: true,
        autoSelectFamilyAttemptTimeout: ATTEMPT_TIMEOUT_MS,
        noDelay: true,
      }),
    );
    // Once it carries TLS nobody else listens for its errors, and they come as its end.
    socket.on('error', () => {});
    await until(socket, 'connect');
    if (!socket.remoteAddress || !checkAddress(socket.remoteAddress, policy)) {
      socket.destroy();
      throw new TargetRefused('the target is not allowed');
    }
    return socket.setKeepAlive(true, KEEP_ALIVE_INITIAL_DELAY_MS);
  }

  async function encrypt(opening: Opening, socket: Socket, hostname: string): Promise<TLSSocket> {
    const name = hostname.replace(/\.$/, '');
    const own = clientCertificate ? { cert: clientCertificate.certificate, key: clientCertificate.key } : {};
    context ??= createSecureContext({ ...own, minVersion: 'TLSv1.2' });
    const encrypted: TLSSocket = opening.hold(
      connectTls({
        socket,
        host: name,
        ...(isIP(name) === 0 ? { servername: name } : {}),
        ...(session ? { session } : {}),
        secureContext: context,
        ALPNProtocols: ['http/1.1'],
      }),
    );
    encrypted.on('session', (ticket: Buffer) => {
      session = ticket;
    });
    // Before Node's own listener, which destroys the socket of a certificate that it refuses.
    encrypted.prependListener('secure', () => {
      opening.certificate = encrypted.getPeerCertificate();
    });
    await until(encrypted, 'secureConnect');
    return encrypted;
  }

  return (opening, options, callback) => {
    open(opening, options).then(
      (socket) => {
        opening.phase = 'open';
        callback(null, socket);
      },
      (error: Error) => callback(error, null),
    );
  };
}

function until(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
  });
}

/** A proxy is told one address; more networks have IPv4. */
function preferred(addresses: readonly LookupAddress[]): LookupAddress {
  return addresses.find(({ family }) => family === 4) ?? addresses[0]!;
}
