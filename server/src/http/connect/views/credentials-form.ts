/** The bank's own login form, built from the fields that the catalogue gives for it. */
import type { FormField } from '../../../connectors/connector.ts';
import { layout, type Page } from './layout.ts';
import { linkAddress, type Markup, markup } from './markup.ts';
import { assurance, type BankBadge, bankHeading, csrfField, problemSummary } from './parts.ts';
import { type Texts, texts } from './texts.ts';

export type CredentialsFormProps = Page & {
  /** Where the values post, each under its field's type: `USER`, `PWD`, `PWD2`. */
  action: string;
  bank: BankBadge & { form: readonly FormField[] };
  /** A sentence, or null the first time. */
  error: string | null;
  /** What was typed as `USER` before, to be shown again; secrets never come back. */
  login?: string | null;
  /** True for an item that exists: the button then saves rather than adds. */
  editing: boolean;
  /** Back to the list of banks, or null where the bank is given. */
  otherBankUrl?: string | null;
};

export function credentialsForm(props: CredentialsFormProps): Markup {
  const text = texts[props.language];
  const title = props.editing ? text.credentials.titleEditing(props.bank.name) : text.credentials.title(props.bank.name);
  const body = markup`${bankHeading(props.bank, title)}
<p class="lead">${props.editing ? text.credentials.leadEditing : text.credentials.lead}</p>
${props.error !== null && problem(props.error, props.bank.form, text)}
<form class="fields" method="post" action="${props.action}">
${csrfField(props)}
${props.bank.form.map((field) => fieldRow(field, props))}
${assurance(text.credentials.encrypted(props.applicationName))}
<button class="button button-primary" type="submit">${props.editing ? text.credentials.buttonEditing : text.credentials.button}</button>
</form>
${props.otherBankUrl != null && markup`<p class="aside-link"><a href="${linkAddress(props.otherBankUrl)}">${text.anotherBank}</a></p>`}`;
  return layout({ ...props, title, step: 2, body });
}

function problem(sentence: string, form: readonly FormField[], text: Texts): Markup {
  const first = form[0];
  return problemSummary(
    text.problemTitle,
    markup`<p id="problem-sentence">${sentence}</p>${first !== undefined && markup`<p><a href="#${fieldId(first)}">${text.credentials.goToField}</a></p>`}`,
  );
}

function fieldRow(field: FormField, props: CredentialsFormProps): Markup {
  const id = fieldId(field);
  const limits = markup`${field.minLength !== null && markup` minlength="${field.minLength}"`}${field.maxLength !== null && markup` maxlength="${field.maxLength}"`}`;
  const numeric = field.isNum === '1' && markup` inputmode="numeric"`;
  const wrong = props.error !== null && markup` aria-invalid="true" aria-describedby="problem-sentence"`;
  const value = field.type === 'USER' ? (props.login ?? '') : '';
  const kind = field.type === 'USER' ? 'text' : 'password';
  return markup`<div class="field">
<label for="${id}">${field.label}</label>
<input id="${id}" name="${field.type}" type="${kind}" value="${value}" autocomplete="${autocompleteOf(field.type)}" required autocapitalize="none" autocorrect="off" spellcheck="false"${numeric}${limits}${wrong}>
</div>
`;
}

function fieldId(field: FormField): string {
  return `field-${field.type}`;
}

/** Password managers must be able to fill a login (WCAG 2.2, 3.3.8); a second secret is not one they know. */
function autocompleteOf(type: FormField['type']): string {
  switch (type) {
    case 'USER':
      return 'username';
    case 'PWD':
      return 'current-password';
    case 'PWD2':
      return 'off';
    default:
      return type satisfies never;
  }
}
