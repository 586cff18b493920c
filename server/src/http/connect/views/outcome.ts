/** The ends of the funnel: connected, failed, still pending. None offers "leave": the way on is the way out. */
import { layout, type Page } from './layout.ts';
import { linkAddress, type Markup, markup } from './markup.ts';
import { csrfField, sign, wayOn } from './parts.ts';
import { texts } from './texts.ts';

/** `continueUrl` is the application's redirect address with the documented parameters, or null where it has none. */
type Outcome = Page & { bankName: string; continueUrl: string | null };

export type SuccessProps = Outcome & {
  /** How many accounts came; null where nothing was added (a renewed connection). */
  accountCount: number | null;
  /** Accounts that did not, by name; `later` where they are asked for again. */
  failed?: { names: readonly string[]; later: boolean };
  /** They were read from statement files. */
  fromFiles?: boolean;
  /** Older history follows in a second phase. */
  historyFollows?: boolean;
};

export function success(props: SuccessProps): Markup {
  const text = texts[props.language];
  const { accountCount: count, bankName } = props;
  const lead = count === null ? null : props.fromFiles === true ? text.success.leadFiles(count) : text.success.lead(bankName, count);
  const body = markup`${sign('check', 'good')}
<h1>${text.success.title}</h1>
${lead !== null && markup`<p class="lead">${lead}</p>`}
${props.failed !== undefined && markup`<p>${text.success.failed(props.failed.names, props.failed.later)}</p>`}
${props.historyFollows === true && markup`<p>${text.success.next}</p>`}
<div class="actions">${wayOn(props.continueUrl, props.applicationName, text)}</div>`;
  return layout({ ...props, leaveUrl: null, title: text.success.title, step: 'done', body });
}

export type FailureProps = Outcome & {
  /** What the status means to the user; `statusSentence` has one for each. */
  sentence: string;
  /** Where "Try again" posts, or null where trying again cannot help. */
  retryAction: string | null;
  otherBankUrl?: string | null;
};

export function failure(props: FailureProps): Markup {
  const text = texts[props.language];
  const title = text.failure.title(props.bankName);
  const body = markup`${sign('alert', 'bad')}
<h1>${title}</h1>
<p class="lead" role="alert">${props.sentence}</p>
<div class="actions">
${props.retryAction !== null && markup`<form method="post" action="${props.retryAction}">${csrfField(props)}<button class="button button-primary" type="submit">${text.failure.retry}</button></form>`}
${wayOn(props.continueUrl, props.applicationName, text, props.retryAction === null ? 'primary' : 'secondary')}
</div>
${props.otherBankUrl != null && markup`<p class="aside-link"><a href="${linkAddress(props.otherBankUrl)}">${text.anotherBank}</a></p>`}`;
  return layout({ ...props, leaveUrl: null, title, step: 3, body });
}

export function pending(props: Outcome): Markup {
  const text = texts[props.language];
  const body = markup`${sign('clock', 'calm')}
<h1>${text.pending.title}</h1>
<p class="lead">${text.pending.lead(props.bankName)}</p>
<p>${text.pending.next(props.applicationName)}</p>
<div class="actions">${wayOn(props.continueUrl, props.applicationName, text)}</div>`;
  return layout({ ...props, leaveUrl: null, title: text.pending.title, step: 3, body });
}
