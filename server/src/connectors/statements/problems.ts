/** What can be wrong with an upload, and the sentence that the form shows beside the file's name. */
import { FILE_MAX_BYTES, QUOTED_MAX_CHARACTERS, UPLOAD_MAX_FILES, UPLOAD_MAX_ROWS, UPLOAD_MAX_STATEMENTS } from './limits.ts';

/** What is wrong, before the file's name is known. `line` counts from 1. */
export type Issue =
  | { code: 'empty' | 'too_large' | 'too_many_rows' | 'too_many_statements' | 'unknown_kind' | 'contains_dtd' | 'no_account' }
  | { code: 'truncated' }
  | { code: 'malformed' | 'too_deep' | 'too_many_elements' | 'no_sign' | 'no_currency' | 'no_date'; line: number }
  | { code: 'bad_amount' | 'bad_date'; line: number; found: string }
  | { code: 'another_report'; found: string }
  | { code: 'several_banks' | 'another_bank'; found: string; expected: string };

export type ProblemCode = Issue['code'] | 'too_many_files' | 'no_file';

/** `fileName` is empty where the problem is the whole upload's. */
export type Problem = { code: ProblemCode; fileName: string; sentence: string; sentenceFr: string };

const MEGABYTE = 1024 * 1024;

/** Control and direction characters would let a file's name rewrite the sentence around it. */
export function quotable(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  const characters = [...plain];
  return characters.length > QUOTED_MAX_CHARACTERS ? `${characters.slice(0, QUOTED_MAX_CHARACTERS - 1).join('')}…` : plain;
}

export function problem(fileName: string, issue: Issue): Problem {
  const name = quotable(fileName);
  const [english, french] = predicates(issue);
  return {
    code: issue.code,
    fileName: name,
    sentence: `The file “${name}” ${english}.`,
    sentenceFr: `Le fichier «\u00a0${name}\u00a0» ${french}.`,
  };
}

export function tooManyFiles(): Problem {
  return {
    code: 'too_many_files',
    fileName: '',
    sentence: `Please upload at most ${UPLOAD_MAX_FILES} files at a time.`,
    sentenceFr: `Veuillez envoyer au plus ${UPLOAD_MAX_FILES} fichiers à la fois.`,
  };
}

export function noFile(): Problem {
  return {
    code: 'no_file',
    fileName: '',
    sentence: 'Please choose at least one statement file.',
    sentenceFr: 'Veuillez choisir au moins un fichier de relevés.',
  };
}

function predicates(issue: Issue): [english: string, french: string] {
  switch (issue.code) {
    case 'empty':
      return ['is empty', 'est vide'];
    case 'too_large':
      return [`is larger than ${FILE_MAX_BYTES / MEGABYTE} MB`, `dépasse ${FILE_MAX_BYTES / MEGABYTE}\u00a0Mo`];
    case 'too_many_rows':
      return [
        `brings the upload above ${UPLOAD_MAX_ROWS.toLocaleString('en')} transactions; please upload fewer files at a time`,
        `porte l’envoi au-delà de ${UPLOAD_MAX_ROWS.toLocaleString('fr')} opérations\u00a0; veuillez envoyer moins de fichiers à la fois`,
      ];
    case 'too_many_statements':
      return [
        `brings the upload above ${UPLOAD_MAX_STATEMENTS.toLocaleString('en')} statements; please upload fewer files at a time`,
        `porte l’envoi au-delà de ${UPLOAD_MAX_STATEMENTS.toLocaleString('fr')} relevés\u00a0; veuillez envoyer moins de fichiers à la fois`,
      ];
    case 'unknown_kind':
      return ['is neither a CAMT.053 nor an OFX statement', 'n’est ni un relevé CAMT.053 ni un relevé OFX'];
    case 'another_report':
      return [
        `is a ${issue.found} report, not a CAMT.053 statement; please ask your bank for statements`,
        `est un rapport ${issue.found} et non un relevé CAMT.053\u00a0; veuillez demander les relevés à votre banque`,
      ];
    case 'contains_dtd':
      return [
        'contains a document type definition (DTD) or an entity, which a statement never needs',
        'contient une définition de type de document (DTD) ou une entité, ce dont un relevé n’a jamais besoin',
      ];
    case 'no_account':
      return ['contains no account', 'ne contient aucun compte'];
    case 'truncated':
      return ['is cut off before its end', 'est coupé avant la fin'];
    case 'malformed':
      return [`is malformed at line ${issue.line}`, `est mal formé à la ligne ${issue.line}`];
    case 'too_deep':
      return [`is nested too deeply at line ${issue.line}`, `est imbriqué trop profondément à la ligne ${issue.line}`];
    case 'too_many_elements':
      return [
        `holds too many elements in one entry at line ${issue.line}`,
        `contient trop d’éléments dans une écriture à la ligne ${issue.line}`,
      ];
    case 'no_sign':
      return [
        `does not say at line ${issue.line} whether the amount is a credit or a debit`,
        `n’indique pas à la ligne ${issue.line} si le montant est un crédit ou un débit`,
      ];
    case 'no_currency':
      return [`has an amount without a currency at line ${issue.line}`, `a un montant sans devise à la ligne ${issue.line}`];
    case 'no_date':
      return [`has a transaction without a date at line ${issue.line}`, `a une opération sans date à la ligne ${issue.line}`];
    case 'bad_amount':
      return [
        `has at line ${issue.line} an amount that cannot be read: “${quotable(issue.found)}”`,
        `a à la ligne ${issue.line} un montant illisible\u00a0: «\u00a0${quotable(issue.found)}\u00a0»`,
      ];
    case 'bad_date':
      return [
        `has at line ${issue.line} a date that cannot be read: “${quotable(issue.found)}”`,
        `a à la ligne ${issue.line} une date illisible\u00a0: «\u00a0${quotable(issue.found)}\u00a0»`,
      ];
    case 'several_banks':
      return [
        `mixes accounts of two banks, ${quotable(issue.expected)} and ${quotable(issue.found)}`,
        `mélange des comptes de deux banques, ${quotable(issue.expected)} et ${quotable(issue.found)}`,
      ];
    case 'another_bank':
      return [
        `comes from the bank ${quotable(issue.found)}, but this connection is for ${quotable(issue.expected)}`,
        `vient de la banque ${quotable(issue.found)}, alors que cette connexion concerne ${quotable(issue.expected)}`,
      ];
    default:
      return issue satisfies never;
  }
}
