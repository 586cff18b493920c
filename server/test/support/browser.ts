import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

/** Where systems put Chromium, most open first. `CHROMIUM_PATH` goes before all. */
const SYSTEM_PATHS = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/opt/google/chrome/chrome',
  '/snap/bin/chromium',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];

/** It runs as root in containers, without a graphics card, and talks to nobody but the tests. */
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The first start from a cold disk, on a loaded machine. */
const LAUNCH_TIMEOUT_MS = 60_000;

/** An executable, and what its environment needs. */
type Found = { path: string; env: Record<string, string> };

/** Starts Chromium: the system's where there is one, else the one that npm brought. The caller closes it. */
export async function launchBrowser(): Promise<Browser> {
  const path = systemChromium();
  const found = path === undefined ? await packagedChromium() : { path, env: {} };
  return chromium.launch({
    executablePath: found.path,
    args: FLAGS,
    timeout: LAUNCH_TIMEOUT_MS,
    env: { ...process.env, ...found.env },
  });
}

/** The path of an installed Chromium or Chrome. Throws when `CHROMIUM_PATH` names a file that cannot be run. */
function systemChromium(): string | undefined {
  const named = process.env.CHROMIUM_PATH;
  if (named !== undefined && named !== '') {
    accessSync(named, constants.X_OK);
    return named;
  }
  return SYSTEM_PATHS.find((path) => existsSync(path));
}

let unpacked: Promise<Found> | undefined;

/** The Chromium of `@sparticuz/chromium` (Linux on x64 and arm64), unpacked once for this process and removed with it. */
function packagedChromium(): Promise<Found> {
  unpacked ??= unpack();
  return unpacked;
}

async function unpack(): Promise<Found> {
  // The package unpacks into the temporary folder and takes any file named "chromium" there for its own: a folder for
  // each process keeps two test processes from running the half-written file of the other.
  const folder = mkdtempSync(join(tmpdir(), 'pontage-chromium-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

  const before = { ...process.env };
  process.env.TMPDIR = folder;
  // Makes the package bring the libraries that slim systems lack (NSS and its like).
  process.env.AWS_EXECUTION_ENV = 'AWS_Lambda_nodejs22.x';
  try {
    const { default: packaged } = await import('@sparticuz/chromium');
    const path = await packaged.executablePath();
    const libraries = [join(folder, 'al2023', 'lib'), before.LD_LIBRARY_PATH].filter(Boolean).join(delimiter);
    const fonts = existsSync('/etc/fonts') ? {} : { FONTCONFIG_PATH: join(folder, 'fonts') };
    return { path, env: { LD_LIBRARY_PATH: libraries, ...fonts } };
  } finally {
    for (const name of ['TMPDIR', 'AWS_EXECUTION_ENV', 'LD_LIBRARY_PATH', 'FONTCONFIG_PATH']) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}
