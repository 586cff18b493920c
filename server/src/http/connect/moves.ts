/** What the user's moves do. Each ends where the session and its refresh tell which page follows. */
import { type ConnectSession, moveConnectSession, type SessionChange } from '../../access/connect-sessions.ts';
import type { Bank, Connector, Credentials } from '../../connectors/connector.ts';
import { findItem } from '../../items/items.ts';
import { findRefresh, type Refresh } from '../../items/refreshes.ts';
import { answerRefresh, connectItem, refreshItem } from '../../refresh/connection.ts';
import { openState } from '../../refresh/sealed.ts';
import { sql } from '../../storage/sql.ts';
import type { FileProblem } from './views/files-form.ts';
import { texts } from './views/texts.ts';
import { applicationOf, type ConnectServices } from './visit.ts';

const CREDENTIAL_MAX_CHARACTERS = 256;
const CODE_MAX_CHARACTERS = 32;

/** The step that every session is made with. */
const FIRST_STEP = 'list_banks';

/** Whether {@link begin} has said where the session goes; one that lists the banks is already there. */
export function hasBegun({ step, purpose, bankId }: ConnectSession): boolean {
  return step !== FIRST_STEP || (purpose === 'add' && bankId === null);
}

/** After the first POST: where a session of its purpose begins. Again, it changes nothing. */
export async function begin(services: ConnectServices, session: ConnectSession): Promise<void> {
  const item = session.itemId === null ? null : await findItem(services.storage, session.itemId);
  const bankId = item?.bankId ?? session.bankId;
  if (session.purpose === 'add')
    return step(services, session, { bankId, step: bankId === null ? FIRST_STEP : 'bank_creds_form' }, FIRST_STEP);
  const files = bankId !== null && services.connector(bankId)?.bank.input === 'files';
  const asked = session.purpose === 'sync' && !files ? await askBank(services, session) : null;
  const change = asked ? ({ refreshId: asked.refreshId, step: 'sync_in_progress' } as const) : ({ step: 'edit_bank_creds_form' } as const);
  await step(services, session, { bankId, ...change }, FIRST_STEP);
}

/** A bank of the list, as long as none has been connected in this session. */
export async function chooseBank(services: ConnectServices, session: ConnectSession, posted: unknown): Promise<void> {
  const { environment } = await applicationOf(services, session);
  const bank = services.banks(environment).find(({ id }) => String(id) === posted);
  if (bank && session.purpose === 'add') await step(services, session, { bankId: bank.id, step: 'bank_creds_form' });
}

/** What was typed for one bank is never told to another. */
export function isFormOf(bank: Bank, posted: string | undefined): boolean {
  return posted === String(bank.id);
}

/** The fields of the bank's form; null where one is missing or longer than any bank's. */
export function typedCredentials(bank: Bank, form: Record<string, unknown>): Credentials | null {
  const credentials: Credentials = {};
  for (const { type } of bank.form) {
    const value = form[type];
    if (typeof value !== 'string' || value === '' || value.length > CREDENTIAL_MAX_CHARACTERS) return null;
    credentials[type] = value;
  }
  return credentials;
}

/** `busy`: the item is being refreshed for another reason, and these credentials were not taken. */
export async function connect(
  services: ConnectServices,
  session: ConnectSession,
  connector: Connector,
  credentials: Credentials,
): Promise<'connecting' | 'busy' | 'gone'> {
  const open = await openRefresh(services, session);
  if (open !== null) return (await isOwnRefresh(services, session, open)) ? 'connecting' : 'busy';
  const { clock_offset_ms } = await applicationOf(services, session);
  await step(services, session, {});
  const connected = await connectItem(services, {
    sessionId: session.id,
    applicationId: session.applicationId,
    userUuid: session.userUuid,
    bankId: connector.bank.id,
    credentials,
    clockOffsetMs: clock_offset_ms,
  });
  if (typeof connected === 'string') return connected;
  services.onRefreshRequested();
  return 'connecting';
}

/** Reads an upload; nothing of one with a problem is kept. */
export async function upload(
  services: ConnectServices,
  session: ConnectSession,
  files: readonly File[],
): Promise<{ kind: 'done' } | { kind: 'problems'; problems: FileProblem[] }> {
  const connector = session.bankId === null ? null : services.connector(session.bankId);
  if (!connector?.readFiles) return { kind: 'done' };
  const read = await connector.readFiles(
    await Promise.all(files.map(async (file) => ({ name: file.name, bytes: await file.bytes() }))),
    await keptState(services, session),
  );
  if (!read.ok) {
    const problems = read.problems.map(({ fileName, sentence }) => ({ fileName, sentence: sentence[session.language] }));
    return { kind: 'problems', problems };
  }
  const answer = await connect(services, session, connector, read.credentials);
  if (answer === 'connecting') return { kind: 'done' };
  return { kind: 'problems', problems: [{ fileName: '', sentence: texts[session.language].credentials.busy }] };
}

async function keptState(services: ConnectServices, { itemId }: ConnectSession) {
  const item = itemId === null ? null : await findItem(services.storage, itemId);
  return item ? openState(services, item) : null;
}

/** The one question of a refresh that a form answers: each time the bank asks again, it is another one. */
export function askedBy({ id, epoch }: Pick<Refresh, 'id' | 'epoch'>): string {
  return `${id}-${epoch}`;
}

/** The user's one-time code, to the refresh that waits for it; `asked` is what its form was shown for, as {@link askedBy}. */
export async function answerChallenge(
  services: ConnectServices,
  session: ConnectSession,
  posted: unknown,
  asked: string | undefined,
): Promise<void> {
  const code = typeof posted === 'string' ? posted.trim() : '';
  if (code === '' || code.length > CODE_MAX_CHARACTERS || session.refreshId === null || session.itemId === null) return;
  const refresh = await findRefresh(services.storage, session.refreshId);
  // A second click, or another tab: banks count wrong codes, so one is told once.
  if (!refresh || askedBy(refresh) !== asked) return;
  if (await answerRefresh(services, session.refreshId, session.itemId, code)) services.onRefreshRequested();
  await step(services, session, {});
}

/** Again after a failure: with what is there, or from the form where nothing is left. */
export async function retry(services: ConnectServices, session: ConnectSession): Promise<void> {
  const refresh = session.refreshId === null ? null : await findRefresh(services.storage, session.refreshId);
  if (!refresh?.finishedAt || session.itemId === null) return;
  const item = await findItem(services.storage, session.itemId);
  if (refresh.status === 402 || item?.credentials == null) await step(services, session, { step: 'edit_bank_creds_form' });
  else await sync(services, session);
}

async function sync(services: ConnectServices, session: ConnectSession): Promise<void> {
  const asked = await askBank(services, session);
  if (asked) await step(services, session, { refreshId: asked.refreshId, step: 'sync_in_progress' });
}

/** "Manage SCA and sync": the bank is asked again, with the user present. Null where there is no item. */
async function askBank(services: ConnectServices, session: ConnectSession): Promise<{ refreshId: string } | null> {
  if (session.itemId === null) return null;
  const asked = await refreshItem(services, session.itemId, 'connect');
  services.onRefreshRequested();
  return asked;
}

async function openRefresh({ storage }: ConnectServices, { itemId }: ConnectSession): Promise<string | null> {
  if (itemId === null) return null;
  const open = await storage.first<{ id: string }>(sql`select id from refreshes where item_id = ${itemId} and finished_at is null`);
  return open?.id ?? null;
}

/** Whether this session has asked for it: then the button was pressed twice. */
async function isOwnRefresh({ storage }: ConnectServices, { id }: ConnectSession, refreshId: string): Promise<boolean> {
  const row = await storage.first<{ refresh_id: string | null }>(sql`select refresh_id from connect_sessions where id = ${id}`);
  return row?.refresh_id === refreshId;
}

type Moved = { item_id: number | null; bank_id: number | null; refresh_id: string | null; step: ConnectSession['step'] };

/**
 * Requests of one browser can run at once (a double click): what another has written since this one was read stays. With `from`,
 * nothing is written where the session stands elsewhere by now.
 */
async function step(
  { storage, clock }: ConnectServices,
  session: ConnectSession,
  change: SessionChange,
  from?: ConnectSession['step'],
): Promise<void> {
  await storage.transaction(async (tx) => {
    const row = await tx.first<Moved>(
      sql`select item_id, bank_id, refresh_id, step from connect_sessions where id = ${session.id}${storage.forUpdate}`,
    );
    if (!row || (from !== undefined && row.step !== from)) return;
    if (change.step === 'bank_creds_form' && row.item_id !== null) return;
    const current = { ...session, itemId: row.item_id, bankId: row.bank_id, refreshId: row.refresh_id, step: row.step };
    await moveConnectSession(tx, current, { language: session.language, ...change }, clock.now());
  });
}
