/** Prefix of a secret that Standard Webhooks can use; the rest is the key in base64. */
const STANDARD_PREFIX = 'whsec_';

/** One signing secret, as the keys of the two schemes. */
export type SecretKeys = {
  /** Key of `BridgeApi-Signature`: the secret's UTF-8 bytes as they stand, prefix included. */
  bridge: Uint8Array;
  /** Key of `webhook-signature`: the decoded bytes; undefined for a secret without the `whsec_` prefix. */
  standard: Uint8Array | undefined;
};

export type SecretsRead =
  | { outcome: 'read'; keys: SecretKeys[] }
  | { outcome: 'refused'; code: 'secret_missing' | 'secret_malformed'; message: string };

/** Turns one secret, or several with the newest first, into keys. A message names the position of a bad secret, never its text. */
export function readSecrets(secrets: string | readonly string[]): SecretsRead {
  const list: readonly unknown[] = Array.isArray(secrets) ? secrets : [secrets];
  if (list.length === 0) return missing('The list of secrets is empty');
  const keys: SecretKeys[] = [];
  for (const [index, secret] of list.entries()) {
    const name = list.length === 1 ? 'The secret' : `Secret ${index + 1} of ${list.length}`;
    if (secret === undefined || secret === null) return missing(`${name} is ${secret}`);
    if (typeof secret !== 'string') return malformed(`${name} must be a string, not ${typeof secret}.`);
    if (secret === '') return missing(`${name} is empty`);
    const fault = faultOf(secret);
    if (fault !== undefined) return malformed(`${name} ${fault}`);
    keys.push(keysOf(secret));
  }
  return { outcome: 'read', keys };
}

function keysOf(secret: string): SecretKeys {
  const standard = secret.startsWith(STANDARD_PREFIX) ? Buffer.from(secret.slice(STANDARD_PREFIX.length), 'base64') : undefined;
  return { bridge: Buffer.from(secret, 'utf8'), standard };
}

function faultOf(secret: string): string | undefined {
  if (/[\r\n]$/.test(secret)) return 'ends with a line break, as a secret read from a file does: trim it.';
  if (secret !== secret.trim()) return 'starts or ends with whitespace: trim it.';
  if (/^(["']).*\1$/.test(secret)) return 'is wrapped in quotation marks: remove them.';
  if (!secret.startsWith(STANDARD_PREFIX)) return undefined;
  return isBase64(secret.slice(STANDARD_PREFIX.length))
    ? undefined
    : 'starts with whsec_ but the rest is not base64: it was cut or changed when it was copied.';
}

function isBase64(text: string): boolean {
  const unpadded = text.replace(/={1,2}$/, '');
  return unpadded !== '' && Buffer.from(unpadded, 'base64').toString('base64').replace(/=+$/, '') === unpadded;
}

function missing(what: string): SecretsRead {
  const message = `${what}: pass the signing secret that was shown when the webhook was created. Is the environment variable set?`;
  return { outcome: 'refused', code: 'secret_missing', message };
}

function malformed(message: string): SecretsRead {
  return { outcome: 'refused', code: 'secret_malformed', message };
}
