/**
 * Which addresses a webhook may reach. Pure. The table is the IANA special-purpose address registries of IPv4 and IPv6,
 * with multicast; IPv6 is allowed only inside the global unicast block, so that what is unassigned today is refused.
 */
import { BlockList, isIP, isIPv6 } from 'node:net';

/**
 * What the operator allows, and the way out. Ranges are CIDR, e.g. `10.0.0.0/8`; denied ones win over all else.
 * `allowLoopback` is for the development mode, which is itself bound to loopback.
 */
export type AddressPolicy = {
  allowLoopback: boolean;
  allowedRanges: readonly string[];
  deniedRanges?: readonly string[];
  /** First and last port of each range; {@link PORTS_DEFAULT} where absent. */
  allowedPorts?: readonly PortRange[];
  /** `http://host:port` of a proxy that every request takes; its own address is the operator's choice and not checked. */
  egressProxy?: string | null;
};
export type PortRange = readonly [first: number, last: number];

/** Those of web servers: other ports belong to other protocols, which a request could speak to by accident or design. */
export const PORTS_DEFAULT: readonly PortRange[] = [
  [443, 443],
  [80, 80],
  [8443, 8443],
  [8080, 8080],
];

const SPECIAL_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];

const GLOBAL_UNICAST_IPV6 = '2000::/3';

const SPECIAL_IPV6 = ['2001::/23', '2001:db8::/32', '2620:4f:8000::/48', '3fff::/20', '5f00::/16'];

const LOOPBACK = ['127.0.0.0/8', '::1/128'];

/** Forms of IPv6 that carry an IPv4 address: checked as that address (v4-mapped, NAT64 well-known, 6to4). */
const EMBEDDED_IPV4: readonly { prefix: readonly number[]; at: number }[] = [
  { prefix: [0, 0, 0, 0, 0, 0xffff], at: 6 },
  { prefix: [0x64, 0xff9b, 0, 0, 0, 0], at: 6 },
  { prefix: [0x2002], at: 1 },
];

/** `10.0.0.0/8`, `fd00::/8` or a single address; null for anything else. */
export function parseRange(text: string): { address: string; prefix: number; family: 'ipv4' | 'ipv6' } | null {
  const [address = '', length, ...rest] = text.trim().split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || address.includes('%')) return null;
  const longest = version === 4 ? 32 : 128;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return null;
  const prefix = length === undefined ? longest : Number(length);
  return prefix > longest ? null : { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of ranges) {
    const range = parseRange(text);
    if (!range) throw new RangeError(`${text} is not an address range in CIDR form`);
    list.addSubnet(range.address, range.prefix, range.family);
  }
  return list;
}

const special = blockList([...SPECIAL_IPV4, ...SPECIAL_IPV6]);
const globalUnicast = blockList([GLOBAL_UNICAST_IPV6]);
const loopback = blockList(LOOPBACK);
const lists = new WeakMap<readonly string[], BlockList>();

/** Whether a connection to this address may be made. False for anything that is not an IP address. */
export function checkAddress(address: string, policy: AddressPolicy): boolean {
  if (isIP(address) === 0 || address.includes('%')) return false;
  const plain = isIPv6(address) ? (embeddedIpv4(address) ?? address) : address;
  if (within(plain, policy.deniedRanges) || (plain !== address && within(address, policy.deniedRanges))) return false;
  const family = isIPv6(plain) ? 'ipv6' : 'ipv4';
  if (policy.allowLoopback && loopback.check(plain, family)) return true;
  if (within(plain, policy.allowedRanges)) return true;
  if (family === 'ipv6' && !globalUnicast.check(plain, family)) return false;
  return !special.check(plain, family);
}

function within(address: string, ranges: readonly string[] | undefined): boolean {
  if (ranges === undefined || ranges.length === 0) return false;
  let list = lists.get(ranges);
  if (!list) {
    list = blockList(ranges);
    lists.set(ranges, list);
  }
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

/** `host` is a name or an address without brackets. In the development mode a receiver on this machine may have any port. */
export function checkPort(port: number, host: string, policy: AddressPolicy): boolean {
  if (policy.allowLoopback && isLoopback(host)) return port > 0;
  return (policy.allowedPorts ?? PORTS_DEFAULT).some(([first, last]) => port >= first && port <= last);
}

function isLoopback(host: string): boolean {
  if (isIP(host) !== 0) return loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
  return isLocalName(host);
}

/** RFC 6761, section 6.3: these never leave the machine. */
export function isLocalName(name: string): boolean {
  return /(^|\.)localhost\.?$/i.test(name);
}

/** `8443` or `9000-9010`; null for anything else. */
export function parsePorts(text: string): PortRange | null {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text.trim());
  if (!match) return null;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return first >= 1 && first <= last && last <= 65_535 ? [first, last] : null;
}

function embeddedIpv4(address: string): string | null {
  const groups = groupsOf(address);
  const form = EMBEDDED_IPV4.find(({ prefix }) => prefix.every((group, index) => groups[index] === group));
  if (!form) return null;
  const high = groups[form.at]!;
  const low = groups[form.at + 1]!;
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** The eight groups of an IPv6 address that `isIPv6` has accepted. */
function groupsOf(address: string): number[] {
  const hexadecimal = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a: string, b: string, c: string, d: string) => {
    return `${((Number(a) << 8) | Number(b)).toString(16)}:${((Number(c) << 8) | Number(d)).toString(16)}`;
  });
  const [left = '', right] = hexadecimal.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const zeros = right === undefined ? [] : Array<string>(8 - head.length - tail.length).fill('0');
  return [...head, ...zeros, ...tail].map((group) => Number.parseInt(group, 16));
}
