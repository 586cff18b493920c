/** The thread in which an upload is read: one job, one answer. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Json, UploadedFile } from '../connector.ts';
import { readUpload } from './reading.ts';

const { files, kept } = workerData as { files: readonly UploadedFile[]; kept: Json };
parentPort?.postMessage(readUpload(files, kept));
