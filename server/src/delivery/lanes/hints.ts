/** What nodes tell each other to be quicker than their heartbeats. Hints only: each may be lost, and nothing depends on one. */
import type { Storage } from '../../storage/storage.ts';

/** Where they are sent and heard. */
export const CHANNEL = 'lanes';
/** Commits within this time are one hint: each costs every node a read. */
const GATHER_MS = 10;

/** `moved` without lanes: which ones is not known. `due`: a test clock went forward, and brought what waits nearer. */
export type Hint = { kind: 'freed' } | { kind: 'due' } | { kind: 'moved'; lanes: readonly number[] | null };

export type Hints = {
  /** Events were committed, in these lanes if given. Costs nothing while there is no other node. */
  moved(lanes?: readonly number[]): void;
  due(): void;
  stop(): void;
};

export function createHints(options: { storage: Storage; owner: string; others: () => boolean }): Hints {
  const { storage, owner } = options;
  let gathered: Set<number> | 'all' = new Set();
  let timer: NodeJS.Timeout | null = null;

  function send() {
    timer = null;
    const lanes = gathered;
    gathered = new Set();
    const hint: Hint = { kind: 'moved', lanes: lanes === 'all' ? null : [...lanes] };
    storage.shared?.hint(CHANNEL, writeHint(owner, hint)).catch(() => {});
  }

  return {
    moved(lanes) {
      if (!storage.shared || !options.others()) return;
      if (!lanes) gathered = 'all';
      else if (gathered !== 'all') for (const lane of lanes) gathered.add(lane);
      timer ??= setTimeout(send, GATHER_MS);
    },
    due() {
      if (options.others()) storage.shared?.hint(CHANNEL, writeHint(owner, { kind: 'due' })).catch(() => {});
    },
    stop() {
      if (timer) clearTimeout(timer);
      timer = null;
    },
  };
}

export function writeHint(owner: string, hint: Hint): string {
  return `${owner} ${hint.kind === 'moved' ? (hint.lanes?.join() ?? 'all') : hint.kind}`;
}

/** Null for a hint of one's own. */
export function readHint(payload: string, owner: string): Hint | null {
  const [from, what = ''] = payload.split(' ');
  if (from === owner) return null;
  if (what === 'freed' || what === 'due') return { kind: what };
  const lanes = what.split(',').map(Number);
  return { kind: 'moved', lanes: lanes.every(Number.isInteger) && what !== '' ? lanes : null };
}
