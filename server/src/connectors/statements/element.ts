/** The tree that both readers build, and what they share: depth, count, and letting go of what has been read. */
import { DEPTH_MAX_LEVELS, HELD_MAX_ELEMENTS } from './limits.ts';
import type { Issue } from './problems.ts';

/** `text` is the trimmed text directly inside; `line` counts from 1; names carry no namespace prefix. */
export type Element = { name: string; line: number; text: string; attributes: Readonly<Record<string, string>>; children: Element[] };

/**
 * Is told of each element as it closes, innermost first. The answer says whether its parent keeps it: an entry
 * that has been turned into a row is dropped, so that memory holds one entry at a time.
 */
export type Visitor = (element: Element, parentName: string | null) => 'keep' | 'drop';

export function childrenOf(element: Element | undefined, name: string): Element[] {
  return element?.children.filter((child) => child.name === name) ?? [];
}

/** The first element at the end of a path of names. */
export function at(element: Element | undefined, ...path: string[]): Element | undefined {
  let current = element;
  for (const name of path) current = current?.children.find((child) => child.name === name);
  return current;
}

/** Its text, or null where it is missing or empty. */
export function textAt(element: Element | undefined, ...path: string[]): string | null {
  return at(element, ...path)?.text || null;
}

export type Builder = {
  /** The element that is open now; undefined outside of the root. */
  current(): Element | undefined;
  open(name: string, line: number, attributes: Readonly<Record<string, string>>): void;
  text(text: string): void;
  /** Whether the current element has been given text. */
  hasText(): boolean;
  /** Closes the current element. `hoist`: it was empty and never closed, so what looks inside it stands beside it. */
  close(hoist?: boolean): void;
  depth(): number;
  isOpen(name: string): boolean;
  issue(): Issue | null;
  fail(issue: Issue): void;
};

/** The first issue stays; after it nothing is built any more. */
export function createBuilder(visit: Visitor): Builder {
  const open: Element[] = [];
  const pieces: string[][] = [];
  let held = 0;
  let issue: Issue | null = null;

  function count(element: Element): number {
    return element.children.reduce((total, child) => total + count(child), 1);
  }

  return {
    current: () => open.at(-1),
    depth: () => open.length,
    hasText: () => (pieces.at(-1)?.length ?? 0) > 0,
    isOpen: (name) => open.some((element) => element.name === name),
    issue: () => issue,
    fail(found) {
      issue ??= found;
    },
    open(name, line, attributes) {
      if (open.length >= DEPTH_MAX_LEVELS) issue ??= { code: 'too_deep', line };
      held += 1;
      if (held > HELD_MAX_ELEMENTS) issue ??= { code: 'too_many_elements', line };
      if (issue !== null) return;
      open.push({ name, line, text: '', attributes, children: [] });
      pieces.push([]);
    },
    text(text) {
      if (issue === null) pieces.at(-1)?.push(text);
    },
    close(hoist = false) {
      if (issue !== null) return;
      const element = open.pop();
      const text = pieces.pop();
      if (element === undefined || text === undefined) return;
      element.text = text.join('').trim();
      const parent = open.at(-1);
      const inside = element.children;
      if (hoist) element.children = [];
      if (visit(element, parent?.name ?? null) === 'drop') held -= count(element);
      else parent?.children.push(element);
      if (hoist && parent !== undefined) for (const child of inside) parent.children.push(child);
    },
  };
}
