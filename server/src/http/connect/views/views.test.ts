import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bankList } from './bank-list.ts';
import { credentialsForm } from './credentials-form.ts';
import { filesForm } from './files-form.ts';
import { linkAddress, type Markup } from './markup.ts';
import { notFound, sessionExpired, tooMany, unavailable } from './notices.ts';
import { failure, pending, success } from './outcome.ts';
import { start } from './start.ts';
import { statusSentence } from './statuses.ts';
import { type Language, texts } from './texts.ts';
import { approveInApp, otp, synchronizing } from './waiting.ts';

const LANGUAGES: readonly Language[] = ['en', 'fr'];
const HOSTILE = `"><script>alert('x')</script><img src=x onerror=alert(1)>`;

/** Every page in every state that looks different, with `word` wherever text from outside goes. */
function everyPage(language: Language, word: string): [name: string, page: Markup][] {
  const page = {
    language,
    applicationName: word,
    csrf: word,
    languageSwitchUrl: `/connect/s?language=${word}`,
    leaveUrl: `https://app.example/${word}`,
  };
  const bank = {
    name: word,
    logoUrl: `/static/banks/${word}.svg`,
    form: [
      { label: word, type: 'USER', isNum: '1', maxLength: 8, minLength: 2 },
      { label: word, type: 'PWD', isNum: '0', maxLength: null, minLength: null },
      { label: word, type: 'PWD2', isNum: '0', maxLength: null, minLength: null },
    ],
  } as const;
  const action = `/connect/${word}`;
  const listed = [
    { id: 574, name: word, logoUrl: bank.logoUrl, countryCode: 'FR', isHighlighted: true },
    { id: 600, name: word, logoUrl: bank.logoUrl, countryCode: word, isHighlighted: false },
  ];
  const continueUrl = `https://app.example/?user_uuid=${word}`;
  const challenge = { ...page, action, bank, label: word, description: word, isNumeric: true };
  const ends = { ...page, bankName: word, continueUrl };
  return [
    ['start add', start({ ...page, action, purpose: 'add' })],
    ['start edit', start({ ...page, action, purpose: 'edit' })],
    ['start sync', start({ ...page, action, purpose: 'sync' })],
    ['banks', bankList({ ...page, action, searchAction: action, query: '', banks: listed })],
    ['banks found', bankList({ ...page, action, searchAction: action, query: word, banks: listed.slice(1) })],
    ['banks none', bankList({ ...page, action, searchAction: action, query: word, banks: [] })],
    ['credentials', credentialsForm({ ...page, action, bank, error: null, editing: false, otherBankUrl: action })],
    ['credentials wrong', credentialsForm({ ...page, action, bank, error: word, login: word, editing: true })],
    ['files', filesForm({ ...page, action, bank, problems: [] })],
    [
      'files wrong',
      filesForm({ ...page, action, bank, problems: [{ fileName: word, sentence: word }], editing: true, otherBankUrl: action }),
    ],
    ['synchronizing', synchronizing({ ...page, bank, phase: 'authenticating', refreshed: null, total: null })],
    ['synchronizing counted', synchronizing({ ...page, bank, phase: 'retrieving_data', refreshed: 2, total: 5 })],
    ['otp', otp({ ...challenge, wrong: false })],
    ['otp wrong', otp({ ...challenge, isNumeric: false, description: null, label: '', wrong: true })],
    ['approve', approveInApp({ ...page, bank, description: word })],
    ['success', success({ ...ends, accountCount: 3, historyFollows: true })],
    ['success without some', success({ ...ends, accountCount: 1, failed: { names: ['One', 'Two'], later: true } })],
    ['success alone', success({ ...ends, accountCount: 1, continueUrl: null })],
    ['failure', failure({ ...ends, sentence: word, retryAction: action, otherBankUrl: action })],
    ['failure final', failure({ ...ends, sentence: statusSentence(language, 1005, 'CLOSED_ACCOUNT'), retryAction: null })],
    ['pending', pending(ends)],
    ['expired', sessionExpired({ language, applicationName: word })],
    ['not found', notFound({ language })],
    ['too many', tooMany({ language })],
    ['unavailable', unavailable({ language })],
  ];
}

for (const language of LANGUAGES) {
  for (const [name, markup] of everyPage(language, 'Exemple')) {
    const page = markup.toString();

    test(`${language}: ${name} is whole`, () => {
      assert.match(page, new RegExp(`^<!doctype html>\n<html lang="${language}">`));
      assert.doesNotMatch(page, /undefined|\[object|null|NaN/);
      assert.equal(page.match(/<h1>/g)?.length, 1);
      assert.equal(page.match(/<main /g)?.length, 1);
      assert.ok((page.match(/ autofocus/g)?.length ?? 0) <= 1, 'one thing has the focus');
    });

    test(`${language}: ${name} has headings in order`, () => {
      const levels = [...page.matchAll(/<h(\d)/g)].map((match) => Number(match[1]));
      levels.forEach((level, index) => {
        assert.ok(level <= (levels[index - 1] ?? 0) + 1, `h${level} after h${levels[index - 1]}`);
      });
    });

    test(`${language}: ${name} fits the strictest content security policy`, () => {
      assert.doesNotMatch(page, /<script|<style|\sstyle=|\son[a-z]+=|javascript:/i);
      const addresses = [...page.matchAll(/\s(?:src|action|formaction)="([^"]*)"/g)].map((match) => match[1]);
      for (const address of addresses) assert.match(address ?? '', /^\/(?!\/)/, 'ours alone');
      for (const sheet of page.matchAll(/<link [^>]*href="([^"]*)"/g)) assert.match(sheet[1] ?? '', /^\/static\//);
    });

    test(`${language}: ${name} labels every input, and every described-by exists`, () => {
      for (const [input] of page.matchAll(/<input [^>]*>/g)) {
        if (input.includes('type="hidden"')) continue;
        const id = /\sid="([^"]+)"/.exec(input)?.[1];
        assert.ok(id !== undefined && page.includes(`for="${id}"`), input);
      }
      for (const [, ids = ''] of page.matchAll(/aria-describedby="([^"]*)"/g)) {
        for (const id of ids.split(' ')) assert.ok(page.includes(` id="${id}"`), id);
      }
      for (const [progress] of page.matchAll(/<progress[^>]*>/g)) assert.match(progress, /aria-label="[^"]+"/);
    });

    test(`${language}: ${name} sends its csrf in every POST`, () => {
      for (const [form] of page.matchAll(/<form[^>]*method="post"[\s\S]*?<\/form>/g)) {
        assert.match(form, /<input type="hidden" name="csrf" value="Exemple">/);
      }
    });
  }

  for (const [name, markup] of everyPage(language, HOSTILE)) {
    test(`${language}: ${name} escapes what comes from outside`, () => {
      const page = markup.toString();
      assert.doesNotMatch(page, /<script|<img src=x/i);
      assert.ok(!page.includes(`alert('`), 'no raw quote');
      assert.ok(name === 'not found' || name === 'too many' || name === 'unavailable' || page.includes('&lt;script&gt;alert(&#39;x&#39;)'));
    });
  }
}

test('the button that creates the item is worded as documented, and only when adding', () => {
  const pages = (language: Language) => new Map(everyPage(language, 'Exemple').map(([name, page]) => [name, page.toString()]));
  for (const name of ['credentials', 'files']) {
    assert.match(pages('en').get(name) ?? '', /<button [^>]*>Add your account<\/button>/);
    assert.match(pages('fr').get(name) ?? '', /<button [^>]*>Ajouter votre compte<\/button>/);
  }
  for (const name of ['credentials wrong', 'files wrong']) assert.doesNotMatch(pages('en').get(name) ?? '', /Add your account/);
});

test('the form follows the bank: types, keyboards, lengths, and no secret comes back', () => {
  const page = new Map(everyPage('en', 'Exemple')).get('credentials wrong')?.toString() ?? '';
  const input = (type: string) => new RegExp(`<input id="field-${type}"[^>]*>`).exec(page)?.[0] ?? '';
  assert.match(input('USER'), /type="text" value="Exemple" autocomplete="username".*inputmode="numeric" minlength="2" maxlength="8"/);
  assert.match(input('PWD'), /type="password" value="" autocomplete="current-password"/);
  assert.match(input('PWD2'), /type="password" value="" autocomplete="off"/);
  assert.doesNotMatch(input('PWD'), /inputmode|maxlength/);
});

test('waiting pages ask for themselves again, the others do not', () => {
  for (const [name, page] of everyPage('fr', 'Exemple')) {
    const waits = name.startsWith('synchronizing') || name === 'approve';
    assert.equal(page.includes('<meta http-equiv="refresh" content="2">'), waits, name);
  }
});

test('each step but the ends has a way out', () => {
  const ends = /^(success|failure|pending|expired|not found|too many|unavailable)/;
  for (const [name, page] of everyPage('en', 'Exemple')) {
    assert.equal(page.includes('class="leave"'), !ends.test(name), name);
  }
});

test('an address that would run is not linked; those of applications are', () => {
  for (const address of ['javascript:alert(1)', ' JaVaScRiPt:alert(1)', 'java\nscript:alert(1)', 'data:text/html,x', 'vbscript:x']) {
    assert.equal(linkAddress(address), '#', address);
  }
  for (const address of ['https://app.example/done?x=1', '/connect/s', '?language=fr', 'myapp://callback', 'http://localhost:3000/']) {
    assert.equal(linkAddress(address), address);
  }
});

test('every status has a sentence in both languages, and a known info a finer one', () => {
  for (const language of LANGUAGES) {
    for (const status of [0, -2, -3, 402, 429, 1003, 1005, 1007, 1009, 1010, 1099, 1100] as const) {
      assert.ok(statusSentence(language, status, null).length > 10);
      assert.equal(statusSentence(language, status, 'SOMETHING_ELSE'), statusSentence(language, status, null));
      assert.equal(statusSentence(language, status, 'constructor'), statusSentence(language, status, null));
    }
    assert.notEqual(statusSentence(language, 402, 'WRONG_PWD'), statusSentence(language, 402, null));
  }
});

test('no text is empty or the same in both languages where it is a sentence', () => {
  const walk = (english: unknown, french: unknown, path: string): void => {
    if (typeof english === 'string' && typeof french === 'string') {
      assert.ok(english !== '' && french !== '', path);
      if (english.includes(' ')) assert.notEqual(english, french, path);
    } else if (typeof english === 'object' && english !== null) {
      for (const [name, value] of Object.entries(english)) walk(value, Reflect.get(french as object, name), `${path}.${name}`);
    }
  };
  walk(texts.en, texts.fr, 'texts');
});

test('counts as each language does: French has no plural of nothing', () => {
  const results = (language: Language, count: number) => texts[language].banks.results(count, 'x').split(' ', 2).join(' ');
  assert.deepEqual(
    [0, 1, 2].flatMap((count) => LANGUAGES.map((language) => results(language, count))),
    ['0 banks', '0 banque', '1 bank', '1 banque', '2 banks', '2 banques'],
  );
});
