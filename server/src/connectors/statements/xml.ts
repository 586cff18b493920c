/** Reads XML as a stream of pieces, without DTD, without entities other than the five of XML itself. */
import { SaxesParser } from 'saxes';
import { createBuilder, type Visitor } from './element.ts';
import type { Issue } from './problems.ts';

/** Characters given to the parser at a time, so that reading stops soon after the first fault. */
const PIECE_CHARACTERS = 64 * 1024;

/** Null where the whole document was read. */
export function readXml(text: string, visit: Visitor): Issue | null {
  const builder = createBuilder(visit);
  const parser = new SaxesParser({ xmlns: false, position: true });
  let sawDtd = false;
  parser.on('doctype', () => {
    sawDtd = true;
  });
  parser.on('opentag', (tag) => builder.open(localName(tag.name), parser.line, tag.attributes));
  parser.on('text', (piece) => builder.text(piece));
  parser.on('cdata', (piece) => builder.text(piece));
  parser.on('closetag', () => builder.close());
  parser.on('error', () => builder.fail({ code: 'malformed', line: parser.line }));
  for (let start = 0; start < text.length; start += PIECE_CHARACTERS) {
    parser.write(text.slice(start, start + PIECE_CHARACTERS));
    if (sawDtd) return { code: 'contains_dtd' };
    if (builder.issue() !== null) return builder.issue();
  }
  const openAtEnd = builder.depth() > 0;
  parser.close();
  if (sawDtd) return { code: 'contains_dtd' };
  return builder.issue() !== null && openAtEnd ? { code: 'truncated' } : builder.issue();
}

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1);
}
