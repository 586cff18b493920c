/** An upload on its way to its refresh, sealed in the place of the item's credentials; and what the item remembers of it. Both are text or JSON. */
import { z } from 'zod';
import type { Batch, Json, ObservedAccount } from '../connector.ts';
import type { CombinedUpload, KnownItem, UploadedAccount } from './combine.ts';
import { REMEMBERED_MAX_FILES, REMEMBERED_MAX_STATEMENTS } from './limits.ts';

/** The field of the credentials that carries the upload, as `encodeUpload` wrote it. */
export const UPLOAD_FIELD = 'UPLOAD';

/** Increased when a shape changes, so that an upload sealed by another version is asked for again. */
const FORMAT_VERSION = 1;

/** What one refresh of the item reads. */
const accountsShape = z.array(z.object({ account: z.custom<ObservedAccount>(isObject), batches: z.array(z.custom<Batch>(isObject)) }));
const text = z.string().nullable();
const bankShape = z.object({ bankCode: text, org: text });
const markShape = z.object({ identity: z.string(), from: text, to: text, createdAt: text, opening: text, closing: text });

const uploadShape = z.object({
  version: z.literal(FORMAT_VERSION),
  accounts: accountsShape,
  hashes: z.array(z.string()),
  bank: bankShape,
  marks: z.array(markShape),
});
const sessionShape = z.object({ isFirst: z.boolean(), accounts: accountsShape });
const keptShape = z.object({
  version: z.literal(FORMAT_VERSION),
  bank: bankShape,
  importedHashes: z.array(z.string()),
  marks: z.array(markShape),
});

export type Upload = z.infer<typeof uploadShape>;

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

export function encodeUpload({ accounts, hashes, bank, marks }: CombinedUpload): string {
  return JSON.stringify({ version: FORMAT_VERSION, accounts, hashes, bank, marks });
}

/** Null for what `encodeUpload` of this version did not write. */
export function decodeUpload(written: string): Upload | null {
  try {
    return uploadShape.safeParse(JSON.parse(written)).data ?? null;
  } catch {
    return null;
  }
}

/** The session of a refresh: the accounts, and whether they are the item's whole history. */
export function sessionOf(upload: Upload, isFirst: boolean): Json {
  return { isFirst, accounts: upload.accounts as unknown as Json };
}

export function readSession(session: Json): { isFirst: boolean; accounts: UploadedAccount[] } | null {
  return sessionShape.safeParse(session).data ?? null;
}

/** What the item knows, from what it kept; a new item, or one kept by another version, knows nothing. */
export function knownItem(kept: Json): KnownItem & { marks: Upload['marks']; importedHashes: string[] } {
  return keptShape.safeParse(kept).data ?? { bank: null, importedHashes: [], marks: [] };
}

/** What the item keeps once the upload is imported. The oldest is forgotten first. */
export function remember(kept: Json, upload: Upload): Json {
  const known = knownItem(kept);
  return {
    version: FORMAT_VERSION,
    bank: { bankCode: upload.bank.bankCode ?? known.bank?.bankCode ?? null, org: upload.bank.org ?? known.bank?.org ?? null },
    importedHashes: [...new Set([...known.importedHashes, ...upload.hashes])].slice(-REMEMBERED_MAX_FILES),
    marks: [...known.marks, ...upload.marks].slice(-REMEMBERED_MAX_STATEMENTS),
  };
}
