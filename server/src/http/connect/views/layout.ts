/** The frame that every page of Connect stands in: head, brand, steps, content, and the way out. */
import { icon } from './icons.ts';
import { linkAddress, type Markup, markup } from './markup.ts';
import { type Language, type Texts, texts } from './texts.ts';

/** What every page of a running session needs. */
export type Page = {
  language: Language;
  /** The commercial name of the application that the user came from. */
  applicationName: string;
  /** Goes back in the hidden field `csrf` of every form. */
  csrf: string;
  /** The same page in the other language, or null where there is none. */
  languageSwitchUrl?: string | null;
  /** Where "leave" leads, or null where the page is itself an end. */
  leaveUrl?: string | null;
};

/** 1 choose a bank, 2 give access, 3 connect; `done` when all are behind; null shows no steps. */
export type StepPosition = 1 | 2 | 3 | 'done' | null;

export type LayoutProps = {
  language: Language;
  title: string;
  /** Null where the session, and so the application, is not known. */
  applicationName: string | null;
  step: StepPosition;
  body: Markup;
  languageSwitchUrl?: string | null;
  leaveUrl?: string | null;
  /** The page asks for itself again after that long. */
  refreshSeconds?: number | null;
  /** The body already gives the assurances that otherwise stand beside it. */
  givesAssurances?: boolean;
};

export function layout(props: LayoutProps): Markup {
  const text = texts[props.language];
  const titleEnd = props.applicationName ?? text.secureConnection;
  return markup`<!doctype html>
<html lang="${props.language}">
<head>
<meta charset="utf-8">
<title>${props.title} · ${titleEnd}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex, nofollow">
<meta name="referrer" content="no-referrer">
${props.refreshSeconds != null && markup`<meta http-equiv="refresh" content="${props.refreshSeconds}">`}
<link rel="icon" href="/static/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/base.css">
<link rel="stylesheet" href="/static/connect.css">
</head>
<body>
<a class="skip" href="#content">${text.skipToContent}</a>
<div class="frame">
<header class="rail">
${brand(props, text)}
${props.step !== null && steps(props.step, text)}
${props.givesAssurances !== true && assurances(text)}
</header>
<main id="content" class="content" tabindex="-1">
${props.body}
</main>
<footer class="foot">
${leave(props, text)}
${languageSwitch(props, text)}
</footer>
</div>
</body>
</html>
`;
}

function assurances(text: Texts): Markup {
  return markup`<ul class="rail-facts">
<li>${icon('lock')}<span>${text.facts.encrypted}</span></li>
<li>${icon('eye')}<span>${text.facts.readOnly}</span></li>
</ul>`;
}

function brand(props: LayoutProps, text: Texts): Markup {
  if (props.applicationName === null) {
    return markup`<p class="brand"><span class="monogram" aria-hidden="true">${icon('lock')}</span><span class="brand-name">${text.secureConnection}</span></p>`;
  }
  const initial = [...props.applicationName.trim()][0]?.toUpperCase() ?? '·';
  return markup`<p class="brand"><span class="monogram" aria-hidden="true">${initial}</span><span class="brand-words"><span class="brand-name">${props.applicationName}</span><span class="brand-note">${icon('lock')}${text.secureConnection}</span></span></p>`;
}

function steps(position: Exclude<StepPosition, null>, text: Texts): Markup {
  const current = position === 'done' ? text.steps.length + 1 : position;
  const items = text.steps.map((name, index) => {
    const number = index + 1;
    if (number < current) {
      return markup`<li class="step step-done"><span class="step-mark" aria-hidden="true">${icon('check')}</span><span class="step-name">${name}<span class="unseen"> (${text.stepDone})</span></span></li>`;
    }
    if (number === current) {
      return markup`<li class="step step-current" aria-current="step"><span class="step-mark" aria-hidden="true">${number}</span><span class="step-name">${name}<span class="unseen"> (${text.stepCurrent})</span></span></li>`;
    }
    return markup`<li class="step"><span class="step-mark" aria-hidden="true">${number}</span><span class="step-name">${name}</span></li>`;
  });
  return markup`<nav class="steps" aria-label="${text.stepsLabel}"><ol>${items}</ol></nav>`;
}

function leave(props: LayoutProps, text: Texts): Markup | null {
  if (props.leaveUrl == null) return null;
  const words = props.applicationName === null ? text.leaveAnonymous : text.leave(props.applicationName);
  return markup`<a class="leave" href="${linkAddress(props.leaveUrl)}" rel="noreferrer">${icon('back')}<span>${words}</span></a>`;
}

function languageSwitch(props: LayoutProps, text: Texts): Markup | null {
  if (props.languageSwitchUrl == null) return null;
  const other: Language = props.language === 'en' ? 'fr' : 'en';
  return markup`<a class="language" href="${linkAddress(props.languageSwitchUrl)}" lang="${other}" hreflang="${other}">${text.switchTo}</a>`;
}
