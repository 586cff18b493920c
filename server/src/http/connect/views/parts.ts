/** Pieces that several pages of Connect share. */
import { type IconName, icon } from './icons.ts';
import type { Page } from './layout.ts';
import { linkAddress, type Markup, markup } from './markup.ts';
import type { Texts } from './texts.ts';

/** The bank that a page is about; `logoUrl` is one of ours (the content security policy allows no other). */
export type BankBadge = { name: string; logoUrl: string };

export function csrfField(page: Page): Markup {
  return markup`<input type="hidden" name="csrf" value="${page.csrf}">`;
}

export function bankLogo(bank: BankBadge): Markup {
  return markup`<img class="logo" src="${linkAddress(bank.logoUrl)}" alt="" width="48" height="48">`;
}

export function bankHeading(bank: BankBadge, title: string): Markup {
  return markup`<div class="heading">${bankLogo(bank)}<h1>${title}</h1></div>`;
}

/** A large sign above the heading of a page that asks nothing. */
export function sign(name: IconName, tone: 'good' | 'bad' | 'calm'): Markup {
  return markup`<div class="sign sign-${tone}" aria-hidden="true">${icon(name)}</div>`;
}

/** What went wrong, announced and focused when the page opens; `body` may link to the field. */
export function problemSummary(title: string, body: Markup): Markup {
  return markup`<div class="problem" id="problem" role="alert" tabindex="-1" autofocus>${icon('alert')}<div><h2>${title}</h2>${body}</div></div>`;
}

export function assurance(sentence: string): Markup {
  return markup`<p class="assurance">${icon('lock')}<span>${sentence}</span></p>`;
}

/** The way on: a link to the application, or the sentence that the window may be closed. */
export function wayOn(
  continueUrl: string | null,
  applicationName: string,
  text: Texts,
  weight: 'primary' | 'secondary' = 'primary',
): Markup {
  if (continueUrl === null) return markup`<p class="note">${text.closeWindow}</p>`;
  return markup`<a class="button button-${weight}" href="${linkAddress(continueUrl)}" rel="noreferrer">${text.continueTo(applicationName)}</a>`;
}
