/**
 * The seam between Pontage and a bank. A connector asks one bank, and answers with *observations* and the
 * *coverage* that it vouches for; it decides nothing about what changed. Everything from the bank is parsed
 * here, at the edge, into these shapes.
 */
import type { Money } from '../base/money.ts';
import type { BankAccess } from './access.ts';

/** A calendar date of the bank, `YYYY-MM-DD`, never shifted by a time zone. */
export type CalendarDate = string;

export type AccountType =
  | 'checking'
  | 'savings'
  | 'brokerage'
  | 'card'
  | 'loan'
  | 'shared_saving_plan'
  | 'pending'
  | 'life_insurance'
  | 'special'
  | 'unknown';

/** The item and account statuses of the wire (contract, section 4). */
export type StatusCode = 0 | -2 | -3 | 402 | 429 | 1003 | 1005 | 1007 | 1009 | 1010 | 1099 | 1100;

/** One row as the bank shows it now. `scheduled` is shown as future and treated as pending throughout. */
export type Observation = {
  status: 'booked' | 'pending' | 'scheduled';
  amount: Money;
  bookingDate?: CalendarDate;
  valueDate?: CalendarDate;
  transactionDate?: CalendarDate;
  /** The label, as the bank writes it. */
  rawText: string;
  counterpartyName?: string;
  counterpartyIban?: string;
  /** End-to-end reference: evidence, never an id. */
  endToEndId?: string;
  /** The bank's id of the row: a hint whose reliability is learned. */
  providerId?: string;
  /** The provider id of the pending row that this booked row replaces, where the bank says so. */
  linkPendingId?: string;
  /** In the currency of `amount`; in another it is left aside. */
  balanceAfter?: Money;
  /** The bank's own code of the kind of operation. */
  bankCode?: string;
  /** A category of the contract's Appendix A, where the connector knows it. */
  categoryId?: number;
  /** False for deferred-card rows that also stand on the linked account. Default true. */
  showClientSide?: boolean;
  /** What the source explicitly says to do with an earlier row (OFX CORRECTACTION on CORRECTFITID). */
  correction?: { action: 'replace' | 'delete'; providerId: string };
};

/** What an answer vouches for. Absence of a stored row is evidence only inside `windows` of a complete list. */
export type Coverage = {
  /** Inclusive ranges of dates that the bank was asked for and answered for. */
  windows: readonly { from: CalendarDate; to: CalendarDate }[];
  bookedComplete: boolean;
  pendingComplete: boolean;
  scheduledComplete: boolean;
  /**
   * The bank cut the list by count: the oldest day of its booked rows may be partial, and what is older is not vouched for. Where
   * pending or scheduled rows stand in that same list, `windows` begin a day after its oldest row; where they have lists of their
   * own, those are as complete as they say.
   */
  edgeExclusive: boolean;
  /** The whole available history is here. */
  historyComplete: boolean;
  /** A missing booked row is deleted at once rather than held for a second opinion (a later, proven statement). */
  absenceIsFinal?: boolean;
};

export type Balance = { amount: Money; kind: string; at: CalendarDate | null };

/** One list of rows with its coverage. A bank gives one; an upload of statement files gives one for each statement, in order. */
export type Batch = { observations: readonly Observation[]; coverage: Coverage; balance: Balance | null };

export type ObservedAccount = {
  /** The connector's stable identity of the account within the item, or null where the bank has none. */
  identity: string | null;
  name: string;
  type: AccountType;
  currency: string;
  iban: string | null;
  isPro: boolean;
  loanDetails: LoanDetails | null;
  savingsDetails: SavingsDetails | null;
  /** Opaque handle for `fetchAccount`, good for this session only. */
  handle: string;
};

export type LoanDetails = {
  next_payment_date: CalendarDate | null;
  next_payment_amount: number | null;
  maturity_date: CalendarDate | null;
  opening_date: CalendarDate | null;
  interest_rate: number | null;
  type: string | null;
  borrowed_capital: number | null;
  repaid_capital: number | null;
  remaining_capital: number | null;
};
export type SavingsDetails = { opening_date: CalendarDate | null; interest_rate: number | null; ceiling: number | null };

/** A failure of the bank, of the login or of the user's standing there, already in the words of the wire. */
export type Failure = {
  kind: 'failed';
  status: StatusCode;
  info: string | null;
  /** How long the bank asks to be left in peace (`Retry-After`, "try again in N seconds"). */
  retryAfterMs?: number;
};

export type Challenge =
  | { type: 'SMS'; label: string; description: string | null; isNumeric: boolean; lifetimeMs: number }
  | { type: 'APP_TO_APP'; label: string; description: string | null; lifetimeMs: number; pollMs: number };

export type Authentication =
  /**
   * `session` is handed to the calls that follow. Once this refresh has succeeded, `keep` replaces what the item keeps (sealed),
   * and `consentExpiresAt` (the application's clock; null for no end) when it must be renewed; absent, both stay as they are.
   */
  | { kind: 'authenticated'; session: Json; keep?: Json; consentExpiresAt?: number | null }
  /** The user must act. `state` comes back in the next call; it is sealed at rest meanwhile. */
  | { kind: 'challenge'; challenge: Challenge; state: Json; wrongAnswer?: boolean }
  | Failure;

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export type AuthenticationRequest = {
  itemId: number;
  /** What the user typed in the bank's form, by form field type; for files see the Statements connector. */
  credentials: Credentials;
  /** Whether the user is present and can answer a challenge. */
  attended: boolean;
  /** The state of a running challenge, with the user's code, or null to ask whether the app has approved. */
  answer: { state: Json; code: string | null } | null;
  /** How many refreshes of this item have begun before this one, this connection included: 0 at the first. */
  refreshIndex: number;
  /** When the item was created, on the application's clock, epoch milliseconds. A connector that needs it later keeps it in `session`. */
  connectedAt: number;
  /** What the connector asked to `keep` at the last successful refresh of this item; null before the first. */
  kept: Json;
  /** The application's clock, epoch milliseconds (a sandbox's test clock). */
  now: number;
  /** When the current challenge was made, on the same clock; null without one. */
  challengedAt: number | null;
};

/** Form values by field type: `USER`, `PWD`, `PWD2`; a statements connector keeps its files elsewhere. */
export type Credentials = { [fieldType: string]: string };

export type AccountList = { kind: 'accounts'; accounts: readonly ObservedAccount[]; complete: boolean };

export type FetchRequest = {
  itemId: number;
  session: Json;
  account: ObservedAccount;
  /** `recent` may stop after the last 30 days; `full` is the whole available history; `incremental` begins at `from`. */
  phase: 'recent' | 'full' | 'incremental';
  /** First date wanted; null with `full`. */
  from: CalendarDate | null;
  now: number;
};

export type Fetched = { kind: 'fetched'; batches: readonly Batch[] };

export type FormField = {
  label: string;
  type: 'USER' | 'PWD' | 'PWD2';
  isNum: '0' | '1';
  maxLength: number | null;
  minLength: number | null;
};

/** A bank of the catalogue: the fields of the wire, plus what Connect needs to know. */
export type Bank = {
  id: number;
  name: string;
  countryCode: string;
  /** A path of this server, or an absolute address. */
  logoUrl: string;
  authenticationType: 'INTERNAL_CREDS' | 'WEBVIEW';
  form: readonly FormField[];
  isHighlighted: boolean;
  primaryColor: string | null;
  secondaryColor: string | null;
  parentName: string | null;
  capabilities: readonly string[];
  channelType: readonly string[];
  /** Limits of the wire that stand beside the capabilities of transfer and of payment; absent without them. */
  transfer?: Readonly<Record<string, number | boolean>>;
  payment?: Readonly<Record<string, number | boolean>>;
  displayOrder: number | null;
  /** Which applications see it. */
  environments: readonly ('sandbox' | 'production')[];
  /** `credentials`: the form above. `files`: the user uploads statement files. */
  input: 'credentials' | 'files';
  /** False where a refresh needs the user every time (statement files). */
  unattended: boolean;
  /** How often and when it may be asked, where that differs from the default. */
  access?: Partial<BankAccess>;
};

/**
 * One bank, or one family of banks. Calls may take as long as their `signal` allows; they throw only for
 * what no rule foresees (which becomes status 1003), and say everything else in their answer.
 */
export interface Connector {
  readonly bank: Bank;
  /**
   * Its answers follow from the requests alone, and nobody counts them: a test clock may ask it for moments to come, and ask
   * again. Absent for whatever stands for a real login.
   */
  readonly predictable?: boolean;
  authenticate(request: AuthenticationRequest, signal: AbortSignal): Promise<Authentication>;
  /** A first list without any account is not believed (1003): a login that is known to have none is a failure with 1005. */
  listAccounts(request: { itemId: number; session: Json; now: number }, signal: AbortSignal): Promise<AccountList | Failure>;
  fetchAccount(request: FetchRequest, signal: AbortSignal): Promise<Fetched | Failure>;
  /**
   * The item was erased, and its credentials with it: whatever the connector or its provider still keeps for it is to go.
   * May be called again for an item that is forgotten already; one that throws is asked again later.
   */
  forget?(request: { itemId: number }, signal: AbortSignal): Promise<void>;
  /**
   * For banks whose `input` is `files`: reads an upload before anything is kept of it. `credentials` then carries what was read
   * to the refresh; nothing of an upload with a problem is kept.
   */
  readFiles?(files: readonly UploadedFile[], kept: Json): Promise<FilesRead>;
}

export type UploadedFile = { name: string; bytes: Uint8Array };
export type FilesRead =
  | { ok: true; credentials: Credentials }
  | { ok: false; problems: readonly { fileName: string; sentence: { en: string; fr: string } }[] };
