import { defaultInfo, describe, isStatusCode } from '../../connectors/statuses.ts';
import type { Language } from './services.ts';

/** The three status fields of items and accounts, in the order of the wire. */
export function showStatus(of: { status: number; statusCodeInfo: string | null }, language: Language) {
  const known = isStatusCode(of.status) ? of.status : null;
  const info = of.statusCodeInfo ?? (known === null ? null : defaultInfo(known));
  return {
    status: of.status,
    status_code_info: info,
    status_code_description: known === null ? null : describe(known, info, language),
  };
}
