/** Large deletions in small transactions, so that deliveries and refreshes get theirs in between. */

/** Rows of one deleting transaction: about 3 ms of the main thread on SQLite. */
export const ROWS_PER_DELETE = 200;

export type Turns = {
  /** Between two deletions: others have their turn. */
  pause: () => Promise<void>;
  /** False stops after the step under way; the next round goes on. */
  mayGoOn: () => boolean;
};

/**
 * Repeats a deletion of so many rows at most, in a transaction of its own, until it finds fewer. `step` answers how many
 * went; `ended` is false where it was stopped before.
 */
export async function deleteInBatches(
  step: (rowsMax: number) => Promise<number>,
  { pause, mayGoOn }: Turns,
): Promise<{ ended: boolean; deleted: number }> {
  let deleted = 0;
  for (;;) {
    if (!mayGoOn()) return { ended: false, deleted };
    const rows = await step(ROWS_PER_DELETE);
    deleted += rows;
    if (rows < ROWS_PER_DELETE) return { ended: true, deleted };
    await pause();
  }
}
