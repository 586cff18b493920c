/** The first page: reading it commits to nothing; its one button binds the session to this browser. */
import { icon } from './icons.ts';
import { layout, type Page } from './layout.ts';
import { type Markup, markup } from './markup.ts';
import { csrfField } from './parts.ts';
import { texts } from './texts.ts';

export type StartProps = Page & {
  /** Where the "Continue" button posts. */
  action: string;
  /** `add` a first connection, `edit` new credentials, `sync` a new confirmation or new files. */
  purpose: 'add' | 'edit' | 'sync';
};

export function start(props: StartProps): Markup {
  const text = texts[props.language];
  const title = text.start.title[props.purpose];
  const body = markup`<h1>${title}</h1>
<p class="lead">${text.start.lead(props.applicationName)[props.purpose]}</p>
<h2 class="unseen">${text.start.factsTitle}</h2>
<ul class="facts">
<li>${icon('lock')}<span>${text.facts.encrypted}</span></li>
<li>${icon('eye')}<span>${text.facts.readOnly}</span></li>
<li>${icon('undo')}<span>${text.facts.revocable}</span></li>
</ul>
<form method="post" action="${props.action}">
${csrfField(props)}
<button class="button button-primary" type="submit">${text.start.button}</button>
</form>`;
  return layout({ ...props, title, step: props.purpose === 'add' ? 1 : 2, givesAssurances: true, body });
}
