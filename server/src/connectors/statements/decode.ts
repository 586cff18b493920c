/** From bytes to text. A file that is valid UTF-8 is UTF-8, whatever its header claims; else its declared code page; else Windows-1252. */

const HEAD_BYTES = 1024;

export function decodeFile(bytes: Uint8Array): string {
  const wide = wideEncoding(bytes);
  if (wide !== null) return new TextDecoder(wide).decode(bytes);
  const head = String.fromCharCode(...bytes.subarray(0, HEAD_BYTES));
  const declared = declaredEncoding(head);
  // ISO-2022 text is 7-bit throughout, so it would pass for UTF-8.
  if (declared?.startsWith('iso-2022')) return decodeAs(declared, bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return decodeAs(declared === null || /^utf-?(8|16)/.test(declared) ? 'windows-1252' : declared, bytes);
  }
}

function decodeAs(label: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder(label).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

/** UTF-16, by its byte order mark or by the first `<`. */
function wideEncoding(bytes: Uint8Array): string | null {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0x3c && second === 0)) return 'utf-16le';
  if ((first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c)) return 'utf-16be';
  return null;
}

/** XML: `encoding="..."`. OFX 1.x: `CHARSET:1252` (a code page of Windows), `CHARSET:ISO-8859-1`, `ENCODING:UTF-8`. */
function declaredEncoding(head: string): string | null {
  const xml = /^\s*(?:\u00ef\u00bb\u00bf)?<\?xml[^>]*\bencoding\s*=\s*["']([\w.:-]+)["']/.exec(head);
  if (xml?.[1] !== undefined) return xml[1].toLowerCase();
  const charset = /\bCHARSET\s*:\s*([\w.-]+)/i.exec(head)?.[1]?.toLowerCase();
  if (charset !== undefined && charset !== 'none')
    return /^\d{3,4}$/.test(charset) ? `windows-${charset}` : charset.replace(/^8859/, 'iso-8859');
  const encoding = /\bENCODING\s*:\s*([\w.-]+)/i.exec(head)?.[1]?.toLowerCase();
  return encoding === undefined || encoding === 'usascii' || encoding === 'unicode' ? null : encoding;
}
