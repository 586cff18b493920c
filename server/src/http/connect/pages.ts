/** Which page shows where the user stands; showing it changes nothing. */

import { type ConnectSession, type ConnectStep, IDLE_LIFETIME_MS } from '../../access/connect-sessions.ts';
import { accountsOfItem } from '../../accounts/accounts.ts';
import { MINUTE_MS } from '../../base/clock.ts';
import type { Bank } from '../../connectors/connector.ts';
import { findItem } from '../../items/items.ts';
import { findRefresh, type Refresh } from '../../items/refreshes.ts';
import { askedBy } from './moves.ts';
import { bankList, type ListedBank } from './views/bank-list.ts';
import { credentialsForm } from './views/credentials-form.ts';
import { type FileProblem, filesForm } from './views/files-form.ts';
import type { Markup } from './views/markup.ts';
import { notFound } from './views/notices.ts';
import { failure, pending, success } from './views/outcome.ts';
import { statusSentence } from './views/statuses.ts';
import { texts } from './views/texts.ts';
import { approveInApp, otp, synchronizing } from './views/waiting.ts';
import { type Application, type ConnectServices, redirectTarget, type Visit } from './visit.ts';

/** A bank that takes longer is left to itself: the user goes on, and the refresh too. */
const PATIENCE_MS = 2 * MINUTE_MS;

/** `query` is what the list of banks is searched for; with it the list also comes back after a bank was chosen. */
export async function currentPage(services: ConnectServices, visit: Visit, query: string | null): Promise<Markup> {
  const { session } = visit;
  const connector = session.bankId === null ? null : services.connector(session.bankId);
  switch (session.step) {
    case 'list_banks':
      return banksPage(services, visit, query ?? '');
    case 'bank_creds_form':
    case 'edit_bank_creds_form': {
      if (query !== null && mayChooseBank(session)) return banksPage(services, visit, query);
      if (!connector) break;
      if (connector.bank.input === 'files') return filesPage(visit, connector.bank, []);
      return credentialsPage(visit, connector.bank, null);
    }
    default: {
      const refresh = session.refreshId === null ? null : await findRefresh(services.storage, session.refreshId);
      if (connector && refresh) return progressPage(services, visit, worded(connector.bank, session), refresh);
    }
  }
  return notFound({ language: session.language });
}

function mayChooseBank({ purpose, itemId }: ConnectSession): boolean {
  return purpose === 'add' && itemId === null;
}

function banksPage(services: ConnectServices, { session, application, page, path }: Visit, query: string): Markup {
  return bankList({
    ...page,
    action: `${path}/bank`,
    searchAction: `${path}?query=`,
    query,
    banks: listedBanks(services, application, session, query),
  });
}

function listedBanks(services: ConnectServices, application: Application, session: ConnectSession, query: string): ListedBank[] {
  const wanted = plain(query);
  return services
    .banks(application.environment)
    .filter((bank) => session.country === null || bank.countryCode === session.country || bank.input === 'files')
    .toSorted(
      (a, b) =>
        Number(b.isHighlighted) - Number(a.isHighlighted) ||
        (a.displayOrder ?? 1e9) - (b.displayOrder ?? 1e9) ||
        a.name.localeCompare(b.name),
    )
    .map((bank) => worded(bank, session))
    .filter((bank) => plain(bank.name).includes(wanted));
}

/** The wire has one name for each bank; the one that is no bank is named in the user's language. */
function worded<B extends Bank>(bank: B, { language }: ConnectSession): B & { note?: string } {
  return bank.input === 'files' ? { ...bank, ...texts[language].files.listed } : bank;
}

function plain(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().trim();
}

export function filesPage(visit: Visit, bank: Bank, problems: readonly FileProblem[]): Markup {
  const action = `${visit.path}/files`;
  return filesForm({ ...visit.page, action, bank, problems, editing: visit.session.purpose !== 'add', otherBankUrl: otherBankUrl(visit) });
}

export function credentialsPage(visit: Visit, bank: Bank, error: string | null): Markup {
  // The form says whose it is: another tab may have chosen another bank by the time it is posted (`isFormOf`).
  const action = `${visit.path}/credentials?bank=${bank.id}`;
  return credentialsForm({
    ...visit.page,
    action,
    bank,
    error,
    editing: visit.session.purpose !== 'add',
    otherBankUrl: otherBankUrl(visit),
  });
}

function otherBankUrl({ path, session }: Visit): string | null {
  return mayChooseBank(session) ? `${path}?query=` : null;
}

/** The refresh decides the page: it is the same record that the API shows. */
async function progressPage(services: ConnectServices, visit: Visit, bank: Bank, refresh: Refresh): Promise<Markup> {
  const { session, application, page, path } = visit;
  const { language } = session;
  const goOn = (outcome: { success: boolean; step: ConnectStep }) => redirectTarget(session, application, outcome);
  switch (refresh.state) {
    case 'authenticating':
    case 'retrieving_data': {
      const waitedMs = services.clock.now() - ((session.idleExpiresAt ?? 0) - IDLE_LIFETIME_MS);
      if (waitedMs > PATIENCE_MS)
        return pending({ ...page, bankName: bank.name, continueUrl: goOn({ success: false, step: 'sync_pending' }) });
      const leaveUrl = goOn({ success: false, step: 'sync_in_progress' });
      return synchronizing({
        ...page,
        leaveUrl,
        bank,
        phase: refresh.state,
        refreshed: refresh.refreshedAccountsCount,
        total: refresh.totalAccountsCount,
      });
    }
    case 'info_required': {
      const { challenge } = refresh;
      if (!challenge) return notFound({ language });
      const leaveUrl = goOn({ success: false, step: 'otp_form' });
      if (challenge.type === 'APP_TO_APP') return approveInApp({ ...page, leaveUrl, bank, description: challenge.description });
      const { label, description, isNumeric, wrongAnswer } = challenge;
      return otp({
        ...page,
        leaveUrl,
        action: `${path}/code?asked=${askedBy(refresh)}`,
        bank,
        label,
        description,
        isNumeric,
        wrong: wrongAnswer,
      });
    }
    case 'invalid_creds':
      return credentialsPage(
        { ...visit, page: { ...page, leaveUrl: goOn({ success: false, step: 'edit_bank_creds_form' }) } },
        bank,
        statusSentence(language, 402, refresh.statusCodeInfo),
      );
    case 'finished':
      return connectedPage(services, visit, bank, refresh);
    case 'finished_error': {
      // One account that failed does not take the others from its user; it is asked for again at the next refresh.
      if ((refresh.refreshedAccountsCount ?? 0) > 0) return connectedPage(services, visit, bank, refresh);
      const sentence = statusSentence(language, (refresh.status ?? 1003) as 1003, refresh.statusCodeInfo);
      const retryAction = refresh.status === 1005 ? null : `${path}/retry`;
      return failure({ ...page, bankName: bank.name, sentence, retryAction, continueUrl: goOn({ success: false, step: 'sync_error' }) });
    }
    default:
      return refresh.state satisfies never;
  }
}

async function connectedPage(
  services: ConnectServices,
  { session, application, page }: Visit,
  bank: Bank,
  { itemId }: Refresh,
): Promise<Markup> {
  const accounts = (await accountsOfItem(services.storage, itemId)).filter(({ deletedAt }) => deletedAt === null);
  const failed = accounts.filter(({ status }) => status !== 0 && status !== 1009);
  const item = await findItem(services.storage, itemId);
  return success({
    ...page,
    bankName: bank.name,
    continueUrl: redirectTarget(session, application, { success: true, step: 'sync_success' }),
    accountCount: session.purpose === 'add' ? accounts.length - failed.length : null,
    ...(failed.length > 0 && {
      // An account that is not supported stays so.
      failed: { names: failed.map(({ name }) => name), later: failed.some(({ status }) => status !== 1005) },
    }),
    fromFiles: bank.input === 'files',
    historyFollows: item?.historyComplete === false,
  });
}
