/**
 * The statuses of items and accounts (contract, section 4): the known infos, the sentence for the end user, and which
 * status of many stands for the whole.
 */
import type { StatusCode } from './connector.ts';

export type StatusLanguage = 'en' | 'fr';

type Sentence = Readonly<Record<StatusLanguage, string>>;

/** A status that carries a sentence; 0, -2 and -3 carry none. */
type TroubledStatus = Exclude<StatusCode, 0 | -2 | -3>;

const OF_STATUS: Readonly<Record<TroubledStatus, Sentence>> = {
  402: {
    en: 'Your bank refused these credentials. Please check them and try again.',
    fr: 'Votre banque a refusé ces identifiants. Veuillez les vérifier et réessayer.',
  },
  429: {
    en: 'Your bank asks you to do something on its own site or app. Please sign in there, do what it asks, then refresh.',
    fr: 'Votre banque vous demande une action sur son site ou son application. Connectez-vous-y, effectuez-la, puis actualisez.',
  },
  1003: {
    en: 'We could not refresh your accounts. Please try again later.',
    fr: "Nous n'avons pas pu actualiser vos comptes. Veuillez réessayer plus tard.",
  },
  1005: { en: 'This account is not supported.', fr: "Ce compte n'est pas pris en charge." },
  1007: {
    en: 'Refreshing this bank is suspended for a while.',
    fr: "L'actualisation de cette banque est momentanément suspendue.",
  },
  1009: {
    en: 'The balance has changed, but your bank shows no new transaction.',
    fr: 'Le solde a changé, mais votre banque ne présente aucune nouvelle opération.',
  },
  1010: {
    en: 'Your bank asks for strong authentication. Please sign in again to refresh your accounts.',
    fr: 'Votre banque demande une authentification forte. Veuillez vous reconnecter pour actualiser vos comptes.',
  },
  1099: {
    en: 'Your accounts are being moved to a new connection with your bank.',
    fr: 'Vos comptes sont en cours de transfert vers une nouvelle connexion avec votre banque.',
  },
  1100: {
    en: 'Professional accounts were found. Please validate them to see their data.',
    fr: 'Des comptes professionnels ont été détectés. Veuillez les valider pour voir leurs données.',
  },
};

/** Infos with a sentence of their own. The first English sentence of 1003 and of 1010 is the documented one. */
const OF_INFO: Readonly<Record<string, Sentence>> = {
  WRONG_ID: { en: 'Your login is wrong.', fr: 'Votre identifiant est incorrect.' },
  WRONG_ID_FORMAT: { en: 'Your login does not have the right form.', fr: "Votre identifiant n'a pas le bon format." },
  WRONG_PWD: { en: 'Your password is wrong.', fr: 'Votre mot de passe est incorrect.' },
  WRONG_PWD_FORMAT: { en: 'Your password does not have the right form.', fr: "Votre mot de passe n'a pas le bon format." },
  WRONG_PWD2: { en: 'Your second password is wrong.', fr: 'Votre second mot de passe est incorrect.' },
  WRONG_PWD2_FORMAT: {
    en: 'Your second password does not have the right form.',
    fr: "Votre second mot de passe n'a pas le bon format.",
  },
  ACCOUNT_TEMPORARILY_BLOCKED: {
    en: 'Your bank has blocked your access for a while. Please try again later.',
    fr: 'Votre banque a bloqué votre accès pour un moment. Veuillez réessayer plus tard.',
  },
  ACCOUNT_BLOCKED: { en: 'Your bank has blocked your access.', fr: 'Votre banque a bloqué votre accès.' },
  ACCOUNT_BLOCKED_CONTACT_BANK: {
    en: 'Your bank has blocked your access. Please contact it.',
    fr: 'Votre banque a bloqué votre accès. Veuillez la contacter.',
  },
  TOS_TO_VALIDATE: {
    en: "Your bank asks you to accept its terms of service. Please sign in to your bank's site.",
    fr: "Votre banque vous demande d'accepter ses conditions générales. Connectez-vous à son site.",
  },
  CONTRACT_TO_SIGN: {
    en: "Your bank asks you to sign a contract. Please sign in to your bank's site.",
    fr: 'Votre banque vous demande de signer un contrat. Connectez-vous à son site.',
  },
  BANK_IS_DOWN: { en: "Your bank's interface is down for now.", fr: "L'interface de votre banque est indisponible pour le moment." },
  OTP_NOT_SUPPORTED: {
    en: "This bank's way of authenticating is not supported.",
    fr: "Le mode d'authentification de cette banque n'est pas pris en charge.",
  },
  CLOSED_ACCOUNT: { en: 'This account is closed.', fr: 'Ce compte est clôturé.' },
  OTP_REQUIRED: {
    en: 'Please fill in the strong customer authentication (SMS, notification, etc.) provided by your bank',
    fr: "Veuillez effectuer l'authentification forte (SMS, notification, etc.) demandée par votre banque",
  },
};

/** The values of `status_code_info` seen in the reference API, for each status. A connector may bring others. */
export const knownInfos: Readonly<Record<StatusCode, readonly string[]>> = {
  0: ['OK'],
  [-2]: [],
  [-3]: [],
  402: [
    'INVALID_CREDS',
    'WRONG_ID',
    'WRONG_ID_FORMAT',
    'WRONG_PWD',
    'WRONG_PWD_FORMAT',
    'WRONG_PWD2',
    'WRONG_PWD2_FORMAT',
    'ACCOUNT_TEMPORARILY_BLOCKED',
    'ACCOUNT_BLOCKED',
    'ACCOUNT_BLOCKED_CONTACT_BANK',
  ],
  429: [
    'TOS_TO_VALIDATE',
    'CONTRACT_TO_SIGN',
    'INACTIVE_CREDS',
    'ACCOUNT_TO_ACTIVATE',
    'PHONE_NB_TO_CONFIRM',
    'INFORMATION_TO_REVIEW',
    'SMTH_TO_VALIDATE',
    'OTP_REGISTRATION_TO_DO',
    'KYC_TO_FILL',
    'AMLCFT_DATA_TO_CONFIRM',
    'PHONE_NB_TO_SET',
    'PERSO_DATA_TO_CONFIRM',
    'FORM_TO_FILL',
    'READONLY_ACCESS_TO_CREATE',
    'CANNOT_ACCESS_SERVICES',
    'NO_ONLINE_ACCESS',
    'CREDS_UPDATE_MESSAGE',
    'UNLOCK_OTP_IN_APP',
  ],
  1003: ['CNT_CRASH', 'BANK_IS_DOWN'],
  1005: ['OTP_NOT_SUPPORTED', 'CLOSED_ACCOUNT'],
  1007: [],
  1009: [],
  1010: ['OTP_REQUIRED'],
  1099: [],
  1100: [],
};

/** The info of a status that comes without one: the first known. */
export function defaultInfo(status: StatusCode): string | null {
  return knownInfos[status][0] ?? null;
}

/** Whether a number is a status of the wire. */
export function isStatusCode(value: number): value is StatusCode {
  return Object.hasOwn(knownInfos, value);
}

/** `status_code_description`: a sentence for the end user, or null where nothing is wrong (0) or nothing is known yet (-2, -3). */
export function describe(status: StatusCode, info: string | null, language: StatusLanguage): string | null {
  if (status === 0 || status === -2 || status === -3) return null;
  const known = info !== null && knownInfos[status].includes(info) ? OF_INFO[info] : undefined;
  return (known ?? OF_STATUS[status])[language];
}

/** From the most to the least urgent. 1099 stands beside 1007: both mean that the user waits. */
const URGENCY = [402, 429, 1010, 1100, 1007, 1099, 1003, -3, -2] as const satisfies readonly StatusCode[];

/**
 * The item's status, out of those of its accounts: the worst that somebody can act on. 1005 and 1009 stay on their
 * account, so that one dead account of many leaves the item healthy. No account at all is 0.
 */
export function worstStatus(accountStatuses: readonly StatusCode[]): StatusCode {
  return URGENCY.find((status) => accountStatuses.includes(status)) ?? 0;
}
