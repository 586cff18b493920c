/** Choose a bank: a search that is a plain GET, and one POST form in which every bank is a button. */
import { icon } from './icons.ts';
import { layout, type Page } from './layout.ts';
import { type Markup, markup } from './markup.ts';
import { bankLogo, csrfField } from './parts.ts';
import { type Language, type Texts, texts } from './texts.ts';

/** `note` stands in the place of the country where there is none to name. */
export type ListedBank = { id: number; name: string; logoUrl: string; countryCode: string; isHighlighted: boolean; note?: string };

export type BankListProps = Page & {
  /** Where the choice posts `bank_id`. */
  action: string;
  /** The page itself: the search asks it with `query`. */
  searchAction: string;
  /** What was searched for; empty shows every bank. */
  query: string;
  /** The banks to show, already filtered by `query`, in the order of the list. */
  banks: readonly ListedBank[];
};

export function bankList(props: BankListProps): Markup {
  const text = texts[props.language];
  const body = markup`<h1>${text.banks.title}</h1>
<p class="lead">${text.banks.lead}</p>
<search>
<form class="search" method="get" action="${props.searchAction}">
<label class="unseen" for="query">${text.banks.searchLabel}</label>
<span class="search-box">${icon('search')}<input id="query" name="query" type="search" value="${props.query}" placeholder="${text.banks.searchPlaceholder}" maxlength="100" autocomplete="off" enterkeyhint="search"></span>
<button class="button button-secondary" type="submit">${text.banks.searchButton}</button>
</form>
</search>
${props.query !== '' && markup`<p class="results" role="status">${text.banks.results(props.banks.length, props.query)} · <a href="${props.searchAction}">${text.banks.showAll}</a></p>`}
${props.banks.length === 0 ? nothingFound(text) : choices(props, text)}`;
  return layout({ ...props, title: text.banks.title, step: 1, body });
}

function nothingFound(text: Texts): Markup {
  return markup`<div class="empty"><h2>${text.banks.noneTitle}</h2><p>${text.banks.none}</p></div>`;
}

function choices(props: BankListProps, text: Texts): Markup {
  const highlighted = props.banks.filter((bank) => bank.isHighlighted);
  const others = props.banks.filter((bank) => !bank.isHighlighted);
  return markup`<form method="post" action="${props.action}">
${csrfField(props)}
${group(text.banks.highlighted, highlighted, props.language)}
${group(text.banks.all, others, props.language)}
</form>`;
}

function group(title: string, banks: readonly ListedBank[], language: Language): Markup | null {
  if (banks.length === 0) return null;
  return markup`<h2 class="group">${title}</h2>
<ul class="banks">
${banks.map((bank) => choice(bank, language))}
</ul>`;
}

function choice(bank: ListedBank, language: Language): Markup {
  return markup`<li><button class="bank" type="submit" name="bank_id" value="${bank.id}">${bankLogo(bank)}<span class="bank-words"><span class="bank-name">${bank.name}</span><span class="bank-country">${bank.note ?? countryName(bank.countryCode, language)}</span></span>${icon('chevron')}</button></li>
`;
}

function countryName(code: string, language: Language): string {
  // Intl throws on anything that is not shaped like a region; the catalogue may say "EU" or worse.
  if (!/^[A-Z]{2}$/.test(code)) return code;
  return new Intl.DisplayNames([language], { type: 'region' }).of(code) ?? code;
}
