/** What an item's status means to the person in front of the page, and what that person can do. */
import type { StatusCode } from '../../../connectors/connector.ts';
import type { Language } from './texts.ts';

const byStatus: Record<Language, Record<StatusCode, string>> = {
  en: {
    0: 'Your bank is connected.',
    [-2]: 'The connection has just been added and is in progress.',
    [-3]: 'Your access has just been changed, and the connection is in progress.',
    402: 'Your bank did not accept these credentials. Check them and try again.',
    429: 'Your bank needs you to do something on its own website or app first: accept terms, confirm a detail or change a password. Then come back.',
    1003: 'Your bank did not answer as expected. This is usually temporary: try again in a few minutes.',
    1005: 'This kind of account is not supported.',
    1007: 'Connections to this bank are paused for the moment. Please come back later.',
    1009: 'Your bank’s balance moved, but it shows no new transactions yet.',
    1010: 'The confirmation that your bank asked for was not given in time. Try again, and confirm when your bank asks.',
    1099: 'This bank is changing the way it is connected. Please come back later.',
    1100: 'Professional accounts were found, and they need to be confirmed.',
  },
  fr: {
    0: 'Votre banque est connectée.',
    [-2]: 'La connexion vient d’être ajoutée et elle est en cours.',
    [-3]: 'Votre accès vient d’être modifié et la connexion est en cours.',
    402: 'Votre banque n’a pas accepté ces identifiants. Vérifiez-les et réessayez.',
    429: 'Votre banque vous demande d’abord une action sur son site ou son application\u00a0: accepter des conditions, confirmer une information ou changer un mot de passe. Revenez ensuite.',
    1003: 'Votre banque n’a pas répondu comme prévu. C’est en général passager\u00a0: réessayez dans quelques minutes.',
    1005: 'Ce type de compte n’est pas pris en charge.',
    1007: 'Les connexions à cette banque sont suspendues pour le moment. Revenez plus tard.',
    1009: 'Le solde a changé, mais votre banque ne montre pas encore de nouvelle opération.',
    1010: 'La confirmation demandée par votre banque n’a pas été donnée à temps. Réessayez et confirmez quand votre banque le demande.',
    1099: 'Cette banque change de mode de connexion. Revenez plus tard.',
    1100: 'Des comptes professionnels ont été trouvés\u00a0: ils doivent être confirmés.',
  },
};

const byInfo: Record<Language, Record<string, string>> = {
  en: {
    WRONG_ID: 'Your bank does not know this login. Check it and try again.',
    WRONG_ID_FORMAT: 'This login does not look like one of this bank. Check it and try again.',
    WRONG_PWD: 'Your bank did not accept this password. Check it and try again.',
    WRONG_PWD_FORMAT: 'This password does not look like one of this bank. Check it and try again.',
    ACCOUNT_TEMPORARILY_BLOCKED: 'Your bank has blocked your access for a while. Wait before you try again.',
    ACCOUNT_BLOCKED: 'Your bank has blocked your access. Unblock it on your bank’s website, then try again.',
    ACCOUNT_BLOCKED_CONTACT_BANK: 'Your bank has blocked your access. Please contact your bank.',
    TOS_TO_VALIDATE: 'Your bank wants you to accept its terms on its own website first. Then come back.',
    BANK_IS_DOWN: 'Your bank’s online service is down for now. Try again later.',
    CLOSED_ACCOUNT: 'This account is closed at your bank.',
  },
  fr: {
    WRONG_ID: 'Votre banque ne connaît pas cet identifiant. Vérifiez-le et réessayez.',
    WRONG_ID_FORMAT: 'Cet identifiant n’a pas la forme attendue par cette banque. Vérifiez-le et réessayez.',
    WRONG_PWD: 'Votre banque n’a pas accepté ce mot de passe. Vérifiez-le et réessayez.',
    WRONG_PWD_FORMAT: 'Ce mot de passe n’a pas la forme attendue par cette banque. Vérifiez-le et réessayez.',
    ACCOUNT_TEMPORARILY_BLOCKED: 'Votre banque a bloqué votre accès pour un moment. Attendez avant de réessayer.',
    ACCOUNT_BLOCKED: 'Votre banque a bloqué votre accès. Débloquez-le sur son site, puis réessayez.',
    ACCOUNT_BLOCKED_CONTACT_BANK: 'Votre banque a bloqué votre accès. Veuillez la contacter.',
    TOS_TO_VALIDATE: 'Votre banque vous demande d’abord d’accepter ses conditions sur son site. Revenez ensuite.',
    BANK_IS_DOWN: 'Le service en ligne de votre banque est indisponible. Réessayez plus tard.',
    CLOSED_ACCOUNT: 'Ce compte est clos dans votre banque.',
  },
};

/** One sentence for the user: the one of `info` (upper case, as on the wire) where there is one, else that of `status`. */
export function statusSentence(language: Language, status: StatusCode, info: string | null): string {
  const specific = info === null ? undefined : Object.entries(byInfo[language]).find(([name]) => name === info)?.[1];
  return specific ?? byStatus[language][status];
}
