/**
 * Which addresses a webhook may reach. Pure. The table is the IANA special-purpose address registries of IPv4 and IPv6,
 * with multicast; IPv6 is allowed only inside the global unicast block, so that what is unassigned today is refused.
 */
import { BlockList, isIP, isIPv6 } from 'node:net';

/** What the operator allows. Ranges are CIDR, e.g. `10.0.0.0/8`; `allowLoopback` is for the development mode, which is itself bound to loopback. */
export type AddressPolicy = { allowLoopback: boolean; allowedRanges: readonly string[] };

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
const allowedLists = new WeakMap<readonly string[], BlockList>();

/** Whether a connection to this address may be made. False for anything that is not an IP address. */
export function checkAddress(address: string, policy: AddressPolicy): boolean {
  if (isIP(address) === 0 || address.includes('%')) return false;
  const plain = isIPv6(address) ? (embeddedIpv4(address) ?? address) : address;
  const family = isIPv6(plain) ? 'ipv6' : 'ipv4';
  if (policy.allowLoopback && loopback.check(plain, family)) return true;
  if (policy.allowedRanges.length > 0 && allowedList(policy.allowedRanges).check(plain, family)) return true;
  if (family === 'ipv6' && !globalUnicast.check(plain, family)) return false;
  return !special.check(plain, family);
}

function allowedList(ranges: readonly string[]): BlockList {
  let list = allowedLists.get(ranges);
  if (!list) {
    list = blockList(ranges);
    allowedLists.set(ranges, list);
  }
  return list;
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
