/** Reads an upload beside the server: 20 MB of CAMT take seconds of computing, in which nothing else would be answered. */
import { Worker } from 'node:worker_threads';
import type { FilesRead, Json, UploadedFile } from '../connector.ts';
import { combineUpload } from './combine.ts';
import type { StatementFile } from './model.ts';
import type { Problem } from './problems.ts';
import { readStatementFile } from './read.ts';
import { encodeUpload, knownItem, UPLOAD_FIELD } from './upload.ts';

/** The largest allowed files take about 3 s each; what takes a minute is built to. */
const READING_LIMIT_MS = 60_000;
/** One 20 MB file of 70,000 rows takes about 360 MB; what takes more ends its own thread, not the server. */
const MEMORY_MAX_MB = 1_024;
/** Uploads read at once: each is a core and a share of memory. More wait in line. */
const THREADS_MAX = 2;

const THREAD = new URL('./thread.ts', import.meta.url);

const waiting: (() => void)[] = [];
let busy = 0;

/** The same as {@link readUpload}, in a thread with limits of its own. */
export async function readApart(files: readonly UploadedFile[], kept: Json): Promise<FilesRead> {
  while (busy >= THREADS_MAX) await new Promise<void>((resolve) => waiting.push(resolve));
  busy += 1;
  try {
    return await inThread(files, kept);
  } finally {
    busy -= 1;
    waiting.shift()?.();
  }
}

function inThread(files: readonly UploadedFile[], kept: Json): Promise<FilesRead> {
  return new Promise((resolve) => {
    const thread = new Worker(THREAD, { workerData: { files, kept }, resourceLimits: { maxOldGenerationSizeMb: MEMORY_MAX_MB } });
    const timer = setTimeout(() => void thread.terminate(), READING_LIMIT_MS);
    thread.once('message', (read: FilesRead) => resolve(read));
    // Out of memory, out of time: the exit follows.
    thread.once('error', () => {});
    thread.once('exit', () => {
      clearTimeout(timer);
      resolve({ ok: false, problems: files.map(({ name }) => tooMuch(name)) });
    });
  });
}

function tooMuch(fileName: string): { fileName: string; sentence: { en: string; fr: string } } {
  return {
    fileName,
    sentence: {
      en: 'The upload is too much to read at once: send fewer or smaller files.',
      fr: 'L’envoi est trop lourd pour être lu en une fois : envoyez des fichiers moins nombreux ou plus petits.',
    },
  };
}

/** Every file is read, so that the form can say at once what is wrong with each. */
export function readUpload(files: readonly UploadedFile[], kept: Json): FilesRead {
  const read: StatementFile[] = [];
  const problems: Problem[] = [];
  for (const { name, bytes } of files) {
    const outcome = readStatementFile(name, bytes);
    if (outcome.ok) read.push(outcome.file);
    else problems.push(outcome.problem);
  }
  const combined = problems.length > 0 ? ({ ok: false, problems } as const) : combineUpload(read, knownItem(kept));
  if (combined.ok) return { ok: true, credentials: { [UPLOAD_FIELD]: encodeUpload(combined) } };
  return {
    ok: false,
    problems: combined.problems.map(({ fileName, sentence, sentenceFr }) => ({ fileName, sentence: { en: sentence, fr: sentenceFr } })),
  };
}
