/** The pages between the button and the outcome: synchronizing, a code to enter, an approval in the bank's app. */
import { layout, type Page } from './layout.ts';
import { type Markup, markup } from './markup.ts';
import { type BankBadge, bankHeading, csrfField, problemSummary, sign } from './parts.ts';
import { type SynchronizingPhase, type Texts, texts } from './texts.ts';

/** A waiting page asks again after that long: quick enough to feel alive, slow enough to be read. */
const REFRESH_SECONDS = 2;

/** Codes of banks are 4 to 10 characters; the limit only keeps out what cannot be one. */
const CODE_MAX_CHARACTERS = 32;

export type SynchronizingProps = Page & {
  bank: BankBadge;
  phase: SynchronizingPhase;
  /** Accounts read so far and in all; null until the bank has listed them. */
  refreshed: number | null;
  total: number | null;
};

export function synchronizing(props: SynchronizingProps): Markup {
  const text = texts[props.language];
  const title = text.synchronizing.title(props.bank.name);
  const body = markup`${bankHeading(props.bank, title)}
<div class="waiting" role="status">
<p class="lead">${text.synchronizing.phases[props.phase]}</p>
${progress(props, text)}
</div>
<p class="note">${text.synchronizing.stay} <a href="">${text.checkNow}</a></p>`;
  return layout({ ...props, title, step: 3, refreshSeconds: REFRESH_SECONDS, body });
}

function progress(props: SynchronizingProps, text: Texts): Markup {
  if (props.refreshed === null || props.total === null || props.total === 0) {
    return markup`<progress aria-label="${text.synchronizing.progressLabel}"></progress>
<p class="progress-text">${text.synchronizing.progressUnknown}</p>`;
  }
  const words = text.synchronizing.progress(props.refreshed, props.total);
  return markup`<progress value="${props.refreshed}" max="${props.total}" aria-label="${text.synchronizing.progressLabel}">${words}</progress>
<p class="progress-text">${words}</p>`;
}

export type OtpProps = Page & {
  /** Where the answer posts `code`. */
  action: string;
  bank: BankBadge;
  /** The bank's own words: the name of the field, and what it explains; an empty label falls back to ours. */
  label: string;
  description: string | null;
  isNumeric: boolean;
  /** The code given before was not accepted. */
  wrong: boolean;
};

export function otp(props: OtpProps): Markup {
  const text = texts[props.language];
  const described = [props.description !== null ? 'code-description' : null, props.wrong ? 'problem' : null]
    .filter((id) => id !== null)
    .join(' ');
  const body = markup`${bankHeading(props.bank, text.otp.title)}
<p class="lead">${text.otp.lead(props.bank.name)}</p>
${props.wrong && problemSummary(text.problemTitle, markup`<p>${text.otp.wrong}</p>`)}
<form class="fields" method="post" action="${props.action}">
${csrfField(props)}
<div class="field">
<label for="field-code">${props.label.trim() === '' ? text.otp.label : props.label}</label>
${props.description !== null && markup`<p class="hint" id="code-description">${props.description}</p>`}
<input class="code" id="field-code" name="code" type="text" autocomplete="one-time-code" required maxlength="${CODE_MAX_CHARACTERS}" autocapitalize="none" autocorrect="off" spellcheck="false"${props.isNumeric && markup` inputmode="numeric" pattern="[0-9 ]*"`}${props.wrong ? markup` aria-invalid="true"` : markup` autofocus`}${described !== '' && markup` aria-describedby="${described}"`}>
</div>
<button class="button button-primary" type="submit">${text.otp.button}</button>
</form>`;
  return layout({ ...props, title: text.otp.title, step: 3, body });
}

export type ApproveInAppProps = Page & {
  bank: BankBadge;
  /** The bank's own explanation, or null. */
  description: string | null;
};

export function approveInApp(props: ApproveInAppProps): Markup {
  const text = texts[props.language];
  const body = markup`${sign('phone', 'calm')}
<h1>${text.approve.title}</h1>
<p class="lead">${text.approve.lead(props.bank.name)}</p>
${props.description !== null && markup`<p class="bank-says">${props.description}</p>`}
<div class="waiting" role="status">
<progress aria-label="${text.approve.waiting}"></progress>
<p class="progress-text">${text.approve.waiting}</p>
</div>
<p class="note">${text.approve.stay} <a href="">${text.checkNow}</a></p>`;
  return layout({ ...props, title: text.approve.title, step: 3, refreshSeconds: REFRESH_SECONDS, body });
}
