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
  INVALID_CREDS: {
    en: 'Your login or your password is wrong.',
    fr: 'Votre identifiant ou votre mot de passe est incorrect.',
  },
  INACTIVE_CREDS: {
    en: "Your access to your bank is not active. Please sign in to your bank's site to activate it.",
    fr: "Votre accès à votre banque n'est pas actif. Connectez-vous à son site pour l'activer.",
  },
  ACCOUNT_TO_ACTIVATE: {
    en: 'Your bank asks you to activate your account on its site.',
    fr: "Votre banque vous demande d'activer votre compte sur son site.",
  },
  PHONE_NB_TO_CONFIRM: {
    en: 'Your bank asks you to confirm your phone number on its site.',
    fr: 'Votre banque vous demande de confirmer votre numéro de téléphone sur son site.',
  },
  INFORMATION_TO_REVIEW: {
    en: 'Your bank has information for you to review on its site.',
    fr: 'Votre banque a des informations à vous faire vérifier sur son site.',
  },
  SMTH_TO_VALIDATE: {
    en: 'Your bank asks you to validate something on its site.',
    fr: 'Votre banque vous demande une validation sur son site.',
  },
  OTP_REGISTRATION_TO_DO: {
    en: 'Your bank asks you to register for strong authentication on its site.',
    fr: "Votre banque vous demande d'activer l'authentification forte sur son site.",
  },
  KYC_TO_FILL: {
    en: 'Your bank asks you to fill in a form about yourself on its site.',
    fr: 'Votre banque vous demande de remplir un questionnaire de connaissance client sur son site.',
  },
  AMLCFT_DATA_TO_CONFIRM: {
    en: 'Your bank asks you to confirm information that the law requires, on its site.',
    fr: 'Votre banque vous demande de confirmer sur son site des informations exigées par la loi.',
  },
  PHONE_NB_TO_SET: {
    en: 'Your bank asks you for your phone number on its site.',
    fr: 'Votre banque vous demande de renseigner votre numéro de téléphone sur son site.',
  },
  PERSO_DATA_TO_CONFIRM: {
    en: 'Your bank asks you to confirm your personal data on its site.',
    fr: 'Votre banque vous demande de confirmer vos données personnelles sur son site.',
  },
  FORM_TO_FILL: {
    en: 'Your bank asks you to fill in a form on its site.',
    fr: 'Votre banque vous demande de remplir un formulaire sur son site.',
  },
  READONLY_ACCESS_TO_CREATE: {
    en: 'Your bank asks you to create an access for consultation on its site.',
    fr: 'Votre banque vous demande de créer un accès en consultation sur son site.',
  },
  CANNOT_ACCESS_SERVICES: {
    en: 'Your bank does not give you access to its online services. Please contact it.',
    fr: 'Votre banque ne vous donne pas accès à ses services en ligne. Veuillez la contacter.',
  },
  NO_ONLINE_ACCESS: {
    en: 'You have no online access at this bank. Please ask your bank for one.',
    fr: "Vous n'avez pas d'accès en ligne dans cette banque. Veuillez lui en demander un.",
  },
  CREDS_UPDATE_MESSAGE: {
    en: 'Your bank asks you for a new password. Please change it on its site, then enter it here.',
    fr: 'Votre banque vous demande un nouveau mot de passe. Changez-le sur son site, puis saisissez-le ici.',
  },
  UNLOCK_OTP_IN_APP: {
    en: 'Your bank asks you to unlock strong authentication in its app.',
    fr: "Votre banque vous demande de débloquer l'authentification forte dans son application.",
  },
  CNT_CRASH: {
    en: "We could not read your bank's answer. Please try again later.",
    fr: "Nous n'avons pas pu lire la réponse de votre banque. Veuillez réessayer plus tard.",
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

/** Only what is true of every case of its status: a reason that nobody gave would send the user the wrong way. */
const DEFAULT_INFO: Readonly<Record<StatusCode, string | null>> = {
  0: 'OK',
  [-2]: null,
  [-3]: null,
  402: 'INVALID_CREDS',
  429: 'SMTH_TO_VALIDATE',
  1003: 'CNT_CRASH',
  1005: null,
  1007: null,
  1009: null,
  1010: 'OTP_REQUIRED',
  1099: null,
  1100: null,
};

/** The info of a status that comes without one; null where none of the known fits all cases. */
export function defaultInfo(status: StatusCode): string | null {
  return DEFAULT_INFO[status];
}

/** Whether a number is a status of the wire. */
export function isStatusCode(value: number): value is StatusCode {
  return Object.hasOwn(knownInfos, value);
}

/** The bank wants a new password: listed by older versions of the wire, and told as 429 by this one. */
const PASSWORD_ROTATION = 430;

/** A status as banks and older versions name it, in the words of this one; null where there is none. */
export function statusOf(code: number): { status: StatusCode; info: string | null } | null {
  if (code === PASSWORD_ROTATION) return { status: 429, info: 'CREDS_UPDATE_MESSAGE' };
  return isStatusCode(code) ? { status: code, info: defaultInfo(code) } : null;
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
  return worstOf(accountStatuses.map((status) => ({ status, info: null }))).status;
}

/** The same, with what its first account says of it. */
export function worstOf<T extends { status: StatusCode; info: string | null }>(
  accounts: readonly T[],
): { status: StatusCode; info: string | null } {
  const status = URGENCY.find((urgent) => accounts.some((account) => account.status === urgent)) ?? 0;
  const info = accounts.find((account) => account.status === status && account.info !== null)?.info;
  return { status, info: status === 0 ? defaultInfo(0) : (info ?? defaultInfo(status)) };
}
