/** What is shown without a sign-in is for this machine: asked from it, by a name of its own, and through nobody. */
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context } from 'hono';

export type Stranger = 'from elsewhere' | 'by another name' | 'through a proxy';

const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via'] as const;

/** Why a request is not of this machine; null where it is. */
export function strangerTo(c: Context): Stranger | null {
  const peer = getConnInfo(c).remote.address ?? '';
  if (!/^(?:::ffff:)?127\.|^::1$/.test(peer)) return 'from elsewhere';
  const name = URL.parse(`http://${c.req.header('host') ?? ''}`)?.hostname ?? '';
  const local = name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(name);
  if (!local) return 'by another name';
  // Through a proxy or a tunnel on this machine everyone's connection is local: what was forwarded is not ours.
  return FORWARDED.some((header) => c.req.header(header) !== undefined) ? 'through a proxy' : null;
}
