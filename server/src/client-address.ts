/** Who calls, where proxies stand between: `X-Forwarded-For` counts only as far as proxies that the operator trusts wrote it. */
import { BlockList, isIP, isIPv6 } from 'node:net';
import { parseRange } from './endpoints/addresses.ts';

/** Reads the chain from our end: the first address that is no trusted proxy is the caller. Pure. */
export function createClientAddress(trustedProxies: readonly string[]): (peer: string, forwardedFor: string | undefined) => string {
  const trusted = new BlockList();
  for (const text of trustedProxies) {
    const range = parseRange(text);
    if (range) trusted.addSubnet(range.address, range.prefix, range.family);
  }
  const isTrusted = (address: string) => trusted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');

  return (peer, forwardedFor) => {
    let caller = plain(peer);
    const hops = forwardedFor?.split(',').map((hop) => plain(hop.trim())) ?? [];
    for (let hop = hops.pop(); hop !== undefined && isIP(caller) !== 0 && isTrusted(caller); hop = hops.pop()) {
      // What a proxy wrote and is no address was made up before it: the proxy is then the last thing known.
      if (isIP(hop) === 0) break;
      caller = hop;
    }
    return caller;
  };
}

/** A socket that takes both families shows IPv4 peers as `::ffff:192.0.2.1`. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
