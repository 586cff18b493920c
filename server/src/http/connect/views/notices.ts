/** Pages outside of a session: it ended, it never was, or the server failed. They know no application and have no form. */
import type { IconName } from './icons.ts';
import { layout } from './layout.ts';
import { type Markup, markup } from './markup.ts';
import { sign } from './parts.ts';
import { type Language, texts } from './texts.ts';

export type NoticeProps = {
  language: Language;
  /** Where it is known, for example when a session has just run out. */
  applicationName?: string | null;
  languageSwitchUrl?: string | null;
};

type Words = { title: string; lead: string; next: string };

export function sessionExpired(props: NoticeProps): Markup {
  return notice(props, 'clock', texts[props.language].expired);
}

export function notFound(props: NoticeProps): Markup {
  return notice(props, 'link', texts[props.language].notFound);
}

/** The bank was asked more often than a user needs. */
export function tooMany(props: NoticeProps): Markup {
  return notice(props, 'clock', texts[props.language].tooMany);
}

/** For an unexpected failure of the server: says nothing about the cause. */
export function unavailable(props: NoticeProps): Markup {
  return notice(props, 'alert', texts[props.language].unavailable);
}

function notice(props: NoticeProps, iconName: IconName, words: Words): Markup {
  const body = markup`${sign(iconName, 'calm')}
<h1>${words.title}</h1>
<p class="lead">${words.lead}</p>
<p>${words.next}</p>`;
  return layout({ ...props, applicationName: props.applicationName ?? null, title: words.title, step: null, body });
}
