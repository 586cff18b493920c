/** Certificates for receivers and clients of tests: see `certificates/README.md`. */
import { readFileSync } from 'node:fs';

type Name = 'authority' | 'valid' | 'expired' | 'other-host' | 'self-signed' | 'client' | 'client-expired';

export const certificate = (name: Name): string => read(`${name}.pem`);
export const privateKey = (of: 'server' | 'client'): string => read(`${of}.key`);

function read(file: string): string {
  return readFileSync(new URL(`certificates/${file}`, import.meta.url), 'utf8');
}
