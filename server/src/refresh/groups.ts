/**
 * What is ready to be committed, gathered into transactions: whatever is handed over in one turn of the event loop, or while
 * others are written, shares one. At rest nobody waits; under load the groups grow and each of their members costs less.
 */

/** In one transaction: more would hold more lanes' heads for longer, and the statements of so many already cost each of them little. */
const GROUP_MAX = 32;
/** Rows of accounts, transactions and changes in one transaction, unless one member has more: SQLite writes so many in some 20 ms. */
const GROUP_ROWS_MAX = 1_000;
/** One writes while the next is sent: PostgreSQL would else wait for us, and we for it. */
const GROUPS_AT_ONCE = 2;

/** `rows`: about how many it writes. */
export type Member = { userUuid: string; rows: number };

export type Groups<M extends Member, R> = {
  /** Resolves with the member's own result after the commit of its group; rejects where it cannot be committed by itself either. */
  commit(member: M): Promise<R>;
};

type Waiting<M, R> = { member: M; resolve: (result: R) => void; reject: (error: unknown) => void };

/** `write` is one transaction; it answers a result for each member, in their order. */
export function createGroups<M extends Member, R>(write: (group: readonly M[]) => Promise<readonly R[]>): Groups<M, R> {
  let waiting: Waiting<M, R>[] = [];
  let writing = 0;
  let gathering = false;

  const start = () => {
    gathering = false;
    while (writing < GROUPS_AT_ONCE && waiting.length > 0) {
      const { group, rest } = takeGroup(waiting);
      waiting = rest;
      writing += 1;
      void writeGroup(write, group).finally(() => {
        writing -= 1;
        gather();
      });
    }
  };
  const gather = () => {
    if (gathering || waiting.length === 0 || writing === GROUPS_AT_ONCE) return;
    gathering = true;
    setImmediate(start);
  };

  return {
    commit: (member) =>
      new Promise((resolve, reject) => {
        waiting.push({ member, resolve, reject });
        gather();
      }),
  };
}

/** The first that fit; one of each user, because the timestamps of a user follow one another. */
function takeGroup<M extends Member, R>(waiting: readonly Waiting<M, R>[]): { group: Waiting<M, R>[]; rest: Waiting<M, R>[] } {
  const group: Waiting<M, R>[] = [];
  const rest: Waiting<M, R>[] = [];
  const users = new Set<string>();
  let rows = 0;
  for (const one of waiting) {
    const { userUuid, rows: more } = one.member;
    const fits = group.length === 0 || (group.length < GROUP_MAX && rows + more <= GROUP_ROWS_MAX && !users.has(userUuid));
    (fits ? group : rest).push(one);
    if (!fits) continue;
    users.add(userUuid);
    rows += more;
  }
  return { group, rest };
}

/** A group that fails is written one by one, so that what fails is the one at fault alone. */
async function writeGroup<M, R>(write: (group: readonly M[]) => Promise<readonly R[]>, group: readonly Waiting<M, R>[]): Promise<void> {
  try {
    const results = await write(group.map(({ member }) => member));
    for (const [at, { resolve }] of group.entries()) resolve(results[at]!);
  } catch (error) {
    if (group.length === 1) group[0]!.reject(error);
    else for (const one of group) await writeGroup(write, [one]);
  }
}
