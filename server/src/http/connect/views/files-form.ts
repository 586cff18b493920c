/** The upload of statement files, for the bank whose accounts are read from files. */
import { icon } from './icons.ts';
import { layout, type Page } from './layout.ts';
import { linkAddress, type Markup, markup } from './markup.ts';
import { assurance, type BankBadge, bankHeading, csrfField, problemSummary } from './parts.ts';
import { type Texts, texts } from './texts.ts';

/** `fileName` is empty where the upload as a whole is meant. */
export type FileProblem = { fileName: string; sentence: string };

export type FilesFormProps = Page & {
  /** Where the upload posts, as multipart form data: `csrf`, then one or several `files`. */
  action: string;
  bank: BankBadge;
  /** What is wrong with which file; empty the first time. */
  problems: readonly FileProblem[];
  /** True for an item that exists: newer files are added to it. */
  editing?: boolean;
  /** Back to the list of banks, or null where the bank is given. */
  otherBankUrl?: string | null;
};

export function filesForm(props: FilesFormProps): Markup {
  const text = texts[props.language];
  const editing = props.editing ?? false;
  const title = editing ? text.files.titleEditing : text.files.title;
  const wrong = props.problems.length > 0;
  const body = markup`${bankHeading(props.bank, title)}
<p class="lead">${text.files.lead}</p>
${wrong && problems(props.problems, text)}
<form class="fields" method="post" action="${props.action}" enctype="multipart/form-data">
${csrfField(props)}
<div class="field field-files">
<label for="field-files">${icon('file')}<span>${text.files.label}</span></label>
<p class="hint" id="files-hint">${text.files.hint}</p>
<input id="field-files" name="files" type="file" multiple required aria-describedby="files-hint${wrong && ' problem'}"${wrong && markup` aria-invalid="true"`}>
</div>
${assurance(text.files.afterwards)}
<button class="button button-primary" type="submit">${editing ? text.files.buttonEditing : text.files.button}</button>
</form>
${props.otherBankUrl != null && markup`<p class="aside-link"><a href="${linkAddress(props.otherBankUrl)}">${text.anotherBank}</a></p>`}`;
  return layout({ ...props, title, step: 2, body });
}

function problems(list: readonly FileProblem[], text: Texts): Markup {
  const named = new Set(list.map(({ fileName }) => fileName).filter((fileName) => fileName !== '')).size;
  return problemSummary(
    named === 0 ? text.problemTitle : text.files.problemTitle(named),
    markup`<ul>${list.map(({ fileName, sentence }) => markup`<li>${!sentence.includes(fileName) && markup`<strong class="file-name">${fileName}</strong> `}${sentence}</li>`)}</ul><p>${text.files.nothingKept}</p>`,
  );
}
