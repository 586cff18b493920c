/**
 * Connections that reach only what the policy allows. Literals are checked first, because no lookup runs for them; names
 * by every address they resolve to; and the socket by the address it really has.
 */
import { type LookupAddress, lookup as resolve } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { buildConnector } from 'undici';
import { type AddressPolicy, checkAddress } from '../../endpoints/addresses.ts';
import { TargetRefused } from './failure.ts';

/** A connector for an undici pool; `timeoutMs` covers DNS, TCP and TLS. */
export function guardedConnector(policy: AddressPolicy, timeoutMs: number): buildConnector.connector {
  const lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      if (error) return callback(error, '', 0);
      // One bad address among good ones refuses the name: which of them is used is not ours to say.
      if (!addresses.every(({ address }) => checkAddress(address, policy))) return callback(refusal(), '', 0);
      if (options.all) return callback(null, addresses as never);
      const [first] = addresses;
      if (!first) return callback(Object.assign(new Error('no address'), { code: 'ENODATA' }), '', 0);
      return callback(null, first.address, first.family);
    });
  };
  const connect = buildConnector({ lookup, allowH2: false, timeout: timeoutMs });
  return (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0 && !checkAddress(host, policy)) return callback(refusal(), null);
    return connect(options, (...result) => {
      const [error, socket] = result;
      if (error || !socket) return callback(error ?? new Error('no socket'), null);
      if (!socket.remoteAddress || !checkAddress(socket.remoteAddress, policy)) {
        socket.destroy();
        return callback(refusal(), null);
      }
      return callback(null, socket);
    });
  };
}

function refusal(): TargetRefused {
  return new TargetRefused('the target is not allowed');
}
