/**
 * Reads the SGML of OFX 1.x (OFX 1.6, section 2). No maintained library reads it, and its grammar is small: aggregates
 * are closed, a value ends at the next tag, and an element that is empty may be left open. Tolerates closed values,
 * closing tags without an opening one, CDATA, comments, and `<` inside a text.
 */
import { type Builder, createBuilder, type Visitor } from './element.ts';
import type { Issue } from './problems.ts';

const TAG_NAME = /^([A-Za-z][\w.:-]*)/;
/** Characters of a tag that are looked at: names of OFX are shorter than 32. */
const TAG_MAX_CHARACTERS = 200;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };
/** A row that is opened inside a row was not closed. */
const NEVER_NESTED = new Set(['STMTTRN', 'STMTTRNP', 'STMTRS', 'CCSTMTRS', 'INVSTMTRS']);

/** Null where everything up to `</OFX>` was read. */
export function readSgml(text: string, visit: Visitor): Issue | null {
  const builder = createBuilder(visit);
  let position = text.search(/<OFX\b/i);
  if (position < 0) return { code: 'unknown_kind' };
  let line = 1 + newlines(text.slice(0, position));
  let ended = false;
  while (position < text.length && !ended && builder.issue() === null) {
    const markup = nextMarkup(text, position);
    const before = text.slice(position, markup < 0 ? text.length : markup);
    value(builder, before);
    line += newlines(before);
    if (markup < 0) break;
    const end = endOfMarkup(text, markup);
    if (end === null) return { code: 'truncated' };
    const piece = text.slice(markup, end);
    ended = readMarkup(builder, piece, line) === 'ended';
    line += newlines(piece);
    position = end;
  }
  return builder.issue() ?? (ended ? null : { code: 'truncated' });
}

/** Where the next markup begins, or -1. A `<` that begins none is a character of text. */
function nextMarkup(text: string, from: number): number {
  const start = /<[A-Za-z/!?]/g;
  start.lastIndex = from;
  return start.exec(text)?.index ?? -1;
}

/** Where a markup ends. Null: the file ends inside it. */
function endOfMarkup(text: string, start: number): number | null {
  const closing = text.startsWith('<!--', start) ? '-->' : text.startsWith('<![CDATA[', start) ? ']]>' : '>';
  const end = text.indexOf(closing, start);
  return end < 0 ? null : end + closing.length;
}

function readMarkup(builder: Builder, piece: string, line: number): 'ended' | 'goes on' {
  if (piece.startsWith('<![CDATA[')) builder.text(piece.slice(9, -3));
  else if (/^<!(DOCTYPE|ENTITY|ELEMENT|ATTLIST)/i.test(piece)) builder.fail({ code: 'contains_dtd' });
  else if (piece.startsWith('</')) return closeTag(builder, tagName(piece.slice(2)));
  else if (!piece.startsWith('<!') && !piece.startsWith('<?')) openTag(builder, piece, line);
  return 'goes on';
}

function tagName(text: string): string {
  return (TAG_NAME.exec(text.slice(0, TAG_MAX_CHARACTERS))?.[1] ?? '').toUpperCase();
}

function openTag(builder: Builder, piece: string, line: number): void {
  const name = tagName(piece.slice(1));
  if (builder.hasText()) builder.close();
  if (NEVER_NESTED.has(name) && builder.isOpen(name)) closeTag(builder, name);
  builder.open(name, line, {});
  if (piece.endsWith('/>')) builder.close();
}

function closeTag(builder: Builder, name: string): 'ended' | 'goes on' {
  if (!builder.isOpen(name)) return 'goes on';
  while (builder.issue() === null) {
    const current = builder.current();
    if (current === undefined) break;
    if (current.name === name) {
      builder.close();
      break;
    }
    builder.close(!builder.hasText());
  }
  return name === 'OFX' ? 'ended' : 'goes on';
}

function value(builder: Builder, raw: string): void {
  const current = builder.current();
  if (current === undefined || current.children.length > 0) return;
  if (raw.trim() === '' && !builder.hasText()) return;
  builder.text(raw.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(\w{2,4}));/gi, decodeEntity));
}

function decodeEntity(whole: string, decimal?: string, hexadecimal?: string, name?: string): string {
  if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole;
  const code = decimal === undefined ? Number.parseInt(hexadecimal ?? '', 16) : Number(decimal);
  return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : whole;
}

function newlines(text: string): number {
  let count = 0;
  for (let index = text.indexOf('\n'); index >= 0; index = text.indexOf('\n', index + 1)) count += 1;
  return count;
}
