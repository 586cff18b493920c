// Completes dist as the package that is published. It is a folder of its own because npm has no way to publish other `exports`
// than those in the repository, and there they must lead to the sources, so that the workspaces need no build.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';

const here = new URL('./', import.meta.url);
const {
  private: _private,
  scripts: _scripts,
  exports: _exports,
  ...kept
} = JSON.parse(readFileSync(new URL('package.json', here), 'utf8'));
const published = { ...kept, exports: { '.': { types: './index.d.ts', default: './index.js' } } };

writeFileSync(new URL('dist/package.json', here), `${JSON.stringify(published, null, 2)}\n`);
copyFileSync(new URL('README.md', here), new URL('dist/README.md', here));
copyFileSync(new URL('../LICENSE', here), new URL('dist/LICENSE', here));
