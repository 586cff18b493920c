/** The clean label of a row, from the bank's own. Pure; computed once, when a row is born. */

const LEADING = /^(?:cb|carte|paiement par carte|prlv sepa|prlv|vir sepa|vir inst|vir|retrait dab|achat cb)\b[\s*:/-]*/i;
const DATES = /\b\d{1,2}[./]\d{1,2}(?:[./]\d{2,4})?\b/g;
const MASKED_CARDS = /\b(?:x{2,}|cb\*)\d{2,}\b/gi;
const REFERENCES = /\b(?:ref|mandat|id|num)\s*[:.]?\s*[a-z0-9-]*\d[a-z0-9-]*\b/gi;
/** Labels on a screen; the bank's own text is kept whole beside it. */
const MAX_LENGTH = 140;
/** What a longer label says after this is not shown anyway, and looking for references in it would cost a square of its length. */
const READ_MAX = 1_000;

/** `CB CARREFOUR CITY 12/03 XX1234` becomes `Carrefour City`. Falls back to the bank's text where nothing would be left. */
export function cleanDescription(rawText: string): string {
  const collapsed = rawText.slice(0, READ_MAX).replace(/\s+/g, ' ').trim();
  const stripped = collapsed
    .replace(DATES, ' ')
    .replace(MASKED_CARDS, ' ')
    .replace(REFERENCES, ' ')
    .replace(LEADING, '')
    .replace(/\s+/g, ' ')
    .trim();
  const text = (/\p{L}/u.test(stripped) ? stripped : collapsed).slice(0, MAX_LENGTH).toWellFormed();
  return text === text.toUpperCase() ? titleCase(text) : text;
}

function titleCase(text: string): string {
  return text.toLowerCase().replace(/(^|[\s'’./-])(\p{L})/gu, (_, before: string, letter: string) => before + letter.toUpperCase());
}
