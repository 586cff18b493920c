/** Who moves a test clock, and what else moves with it: one mover at a time. */
import { MINUTE_MS } from '../../base/clock.ts';
import { bringDueNearer } from '../../items/items.ts';
import { bringRefreshesNearer } from '../../items/refreshes.ts';
import { sql } from '../../storage/sql.ts';
import type { Writer } from '../../storage/storage.ts';
import type { RefreshServices } from '../services.ts';

/** A mover that died leaves the clock to others after this. */
const MOVER_LEASE_MS = MINUTE_MS;

/** A mover, and the application whose clock it moves. */
export type Mover = { applicationId: string; mover: string };

export async function becomeMover({ storage, clock }: RefreshServices, { applicationId, mover }: Mover): Promise<boolean> {
  const now = clock.now();
  const changed = await storage.transaction((tx) =>
    tx.run(sql`
      update applications set clock_mover = ${mover}, clock_mover_until = ${now + MOVER_LEASE_MS}
      where id = ${applicationId} and (clock_mover is null or clock_mover_until <= ${now})`),
  );
  return changed === 1;
}

/** Pages and answers that keep an application in memory read it again. */
export async function releaseMover({ storage }: RefreshServices, { applicationId, mover }: Mover): Promise<void> {
  await storage.transaction(async (tx) => {
    await tx.run(
      sql`update applications set clock_mover = null, clock_mover_until = 0 where id = ${applicationId} and clock_mover = ${mover}`,
    );
    await tx.run(sql`update configuration set version = version + 1`);
  });
}

/** Moves the clock, and brings what is scheduled by it nearer in real time: three statements, given at once. Throws for who is not the mover any more. */
export async function moveWithin(tx: Writer, { clock }: RefreshServices, { applicationId, mover }: Mover, byMs: number): Promise<void> {
  const [moved] = await Promise.all([
    tx.run(sql`
      update applications set clock_offset_ms = clock_offset_ms + ${byMs}, clock_mover_until = ${clock.now() + MOVER_LEASE_MS}
      where id = ${applicationId} and clock_mover = ${mover}`),
    bringDueNearer(tx, applicationId, byMs),
    bringRefreshesNearer(tx, applicationId, byMs),
  ]);
  if (moved !== 1) throw new Error('the test clock was taken over by another advance');
}
