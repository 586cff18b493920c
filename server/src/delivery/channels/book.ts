/**
 * Which items wait, and behind what: the parked deliveries that are not dead, by lane, endpoint and item. The oldest of an
 * item is its head: that one alone is tried, and the others of an endpoint that keeps order wait for it.
 */

export type BookRow = { lane: number; endpointId: string; itemId: number | null; seq: number };

export type Book = {
  /** Ascending by seq within an item, or later than what is there. */
  add(row: BookRow): void;
  /** Delivered, dead or skipped. */
  remove(row: BookRow): void;
  /** The oldest of the item, or undefined. */
  head(lane: number, endpointId: string, itemId: number): number | undefined;
  /** The next ones of the item after its head, at most `limit`. */
  behind(lane: number, endpointId: string, itemId: number, limit: number): readonly number[];
  has(row: BookRow): boolean;
  /** Of the endpoint in the lane, up to a seq. */
  upTo(lane: number, endpointId: string, seq: number): BookRow[];
  /** Items of the endpoint that have something here; what has no item counts one by one. */
  heads(endpointId: string): number;
  /** Of the endpoint, in all lanes that are here. */
  size(endpointId: string): number;
  forgetLane(lane: number): void;
  forgetEndpoint(endpointId: string): void;
  /** Erased: their rows are taken by the erasure. */
  forgetItems(itemIds: ReadonlySet<number>): void;
};

/** Deliveries without an item, as tests are, wait for nothing: they are only counted. */
const NO_ITEM = -1;

export function createBook(): Book {
  const lanes = new Map<number, Map<string, Map<number, number[]>>>();
  const sizes = new Map<string, number>();

  const itemsOf = (lane: number, endpointId: string) => lanes.get(lane)?.get(endpointId);
  const seqsOf = ({ lane, endpointId, itemId }: Omit<BookRow, 'seq'>) => itemsOf(lane, endpointId)?.get(itemId ?? NO_ITEM);
  const grow = (endpointId: string, by: number) => {
    const size = (sizes.get(endpointId) ?? 0) + by;
    if (size === 0) sizes.delete(endpointId);
    else sizes.set(endpointId, size);
  };
  const countOf = (items: ReadonlyMap<number, readonly number[]>) => {
    let count = 0;
    for (const seqs of items.values()) count += seqs.length;
    return count;
  };

  function makeSeqs({ lane, endpointId, itemId }: BookRow): number[] {
    const endpoints = lanes.get(lane) ?? new Map<string, Map<number, number[]>>();
    lanes.set(lane, endpoints);
    const items = endpoints.get(endpointId) ?? new Map<number, number[]>();
    endpoints.set(endpointId, items);
    const seqs = items.get(itemId ?? NO_ITEM) ?? [];
    items.set(itemId ?? NO_ITEM, seqs);
    return seqs;
  }

  return {
    add(row) {
      const seqs = makeSeqs(row);
      let index = seqs.length;
      while (index > 0 && seqs[index - 1]! > row.seq) index -= 1;
      if (seqs[index - 1] === row.seq) return;
      seqs.splice(index, 0, row.seq);
      grow(row.endpointId, 1);
    },
    remove(row) {
      const seqs = seqsOf(row);
      const index = seqs?.indexOf(row.seq) ?? -1;
      if (!seqs || index === -1) return;
      seqs.splice(index, 1);
      grow(row.endpointId, -1);
      if (seqs.length > 0) return;
      const items = itemsOf(row.lane, row.endpointId)!;
      items.delete(row.itemId ?? NO_ITEM);
      if (items.size === 0) lanes.get(row.lane)!.delete(row.endpointId);
    },
    head: (lane, endpointId, itemId) => seqsOf({ lane, endpointId, itemId })?.[0],
    behind: (lane, endpointId, itemId, limit) => seqsOf({ lane, endpointId, itemId })?.slice(1, 1 + limit) ?? [],
    has: (row) => seqsOf(row)?.includes(row.seq) ?? false,
    upTo(lane, endpointId, through) {
      const rows: BookRow[] = [];
      for (const [item, seqs] of itemsOf(lane, endpointId) ?? []) {
        const itemId = item === NO_ITEM ? null : item;
        for (const seq of seqs) if (seq <= through) rows.push({ lane, endpointId, itemId, seq });
      }
      return rows;
    },
    heads(endpointId) {
      let count = 0;
      for (const endpoints of lanes.values()) {
        const items = endpoints.get(endpointId);
        if (items) count += items.has(NO_ITEM) ? items.size - 1 + items.get(NO_ITEM)!.length : items.size;
      }
      return count;
    },
    size: (endpointId) => sizes.get(endpointId) ?? 0,
    forgetLane(lane) {
      for (const [endpointId, items] of lanes.get(lane) ?? []) grow(endpointId, -countOf(items));
      lanes.delete(lane);
    },
    forgetEndpoint(endpointId) {
      for (const endpoints of lanes.values()) endpoints.delete(endpointId);
      sizes.delete(endpointId);
    },
    forgetItems(itemIds) {
      for (const endpoints of lanes.values()) {
        for (const [endpointId, items] of endpoints) {
          for (const itemId of itemIds) {
            grow(endpointId, -(items.get(itemId)?.length ?? 0));
            items.delete(itemId);
          }
          if (items.size === 0) endpoints.delete(endpointId);
        }
      }
    },
  };
}
