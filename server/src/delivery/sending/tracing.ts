/** W3C Trace Context, level 1: what a receiver is told of the trace that its event belongs to. Pure. */

const FORM = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);

/**
 * The same trace with an id of its own for this attempt; null where the parent is none. `random` is uniform in [0, 1),
 * called twice.
 */
export function childTraceparent(parent: string, random: () => number): string | null {
  const match = FORM.exec(parent);
  if (!match || match[1] === NO_TRACE || match[2] === NO_SPAN) return null;
  const span = part(random()) + part(random());
  // All zeros are no id.
  return `00-${match[1]}-${span === NO_SPAN ? `${NO_SPAN.slice(1)}1` : span}-${match[3]}`;
}

/** 32 bits in hexadecimal. */
function part(random: number): string {
  return Math.floor(random * 0x1_0000_0000)
    .toString(16)
    .padStart(8, '0');
}
