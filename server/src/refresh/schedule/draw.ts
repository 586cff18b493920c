/** Draws that a name decides: the same name has the same draw for ever, and different names look independent. */

/** From 0 (inclusive) to 1 (exclusive). FNV-1a over the characters, then the finaliser of MurmurHash3, which spreads near names. */
export function draw(...name: (string | number)[]): number {
  let hash = 0x811c9dc5;
  const text = name.join('/');
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
