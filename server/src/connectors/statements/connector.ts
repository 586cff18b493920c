/** Statement files as a bank: what the files of one upload say is what this bank says at that refresh, and nothing else. */
import type { Bank, Batch, Connector, Failure } from '../connector.ts';
import { readApart } from './reading.ts';
import { decodeUpload, readSession, remember, sessionOf, UPLOAD_FIELD } from './upload.ts';

export { UPLOAD_FIELD };

/** Far from the ids of the reference catalogue's demo banks (408, 574), and stable: items are stored with it. */
export const STATEMENTS_BANK_ID = 9001;

/** The bank's name in French; the wire has one name for each bank. */
export const STATEMENTS_BANK_NAME_FR = 'Fichiers de relevés';

const bank: Bank = {
  id: STATEMENTS_BANK_ID,
  name: 'Statement files',
  countryCode: 'FR',
  logoUrl: '/static/banks/statement-files.svg',
  authenticationType: 'INTERNAL_CREDS',
  form: [],
  isHighlighted: false,
  primaryColor: null,
  secondaryColor: null,
  parentName: null,
  capabilities: ['ais'],
  channelType: ['dsp2'],
  displayOrder: null,
  environments: ['sandbox', 'production'],
  input: 'files',
  unattended: false,
};

/** Nothing to read: the user must bring a file, which on the wire is 1010. */
const FILE_REQUIRED: Failure = { kind: 'failed', status: 1010, info: 'OTP_REQUIRED' };

export const statementsConnector: Connector = {
  bank,

  readFiles: (files, kept) => readApart(files, kept),

  /** The item that has kept nothing has no rows: this upload is its whole history. */
  async authenticate({ credentials, kept }) {
    const written = credentials[UPLOAD_FIELD];
    const upload = written === undefined ? null : decodeUpload(written);
    if (upload === null) return FILE_REQUIRED;
    return { kind: 'authenticated', session: sessionOf(upload, kept === null), keep: remember(kept, upload) };
  },

  /** Never complete: an account that no file of this upload mentions is not gone. */
  async listAccounts({ session }) {
    const upload = readSession(session);
    return upload === null ? FILE_REQUIRED : { kind: 'accounts', accounts: upload.accounts.map(({ account }) => account), complete: false };
  },

  /** The first upload is the whole history of the item (`full_refresh:true`); later ones are not. */
  async fetchAccount({ session, account }) {
    const upload = readSession(session);
    const found = upload?.accounts.find((candidate) => candidate.account.handle === account.handle);
    if (upload === null || found === undefined) return FILE_REQUIRED;
    const batches: Batch[] = found.batches.map((batch) => ({ ...batch, coverage: { ...batch.coverage, historyComplete: upload.isFirst } }));
    return { kind: 'fetched', batches };
  },
};
