/** The few line drawings of Connect, 24 × 24. All are decoration: the words beside them say the same. */
import { type Markup, markup } from './markup.ts';

const drawings = {
  lock: () => markup`<rect x="5" y="11" width="14" height="9" rx="2.5"/><path d="M8 11V8a4 4 0 0 1 8 0v3"/>`,
  eye: () => markup`<path d="M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Z"/><circle cx="12" cy="12" r="2.75"/>`,
  undo: () => markup`<path d="M4 5v5h5"/><path d="M4.5 10A8 8 0 1 1 4 13"/>`,
  check: () => markup`<path d="m5 12.5 4.5 4.5L19 7.5"/>`,
  back: () => markup`<path d="M19 12H5m6-6-6 6 6 6"/>`,
  chevron: () => markup`<path d="m9.5 6 6 6-6 6"/>`,
  search: () => markup`<circle cx="11" cy="11" r="6.5"/><path d="m16 16 4.5 4.5"/>`,
  alert: () => markup`<circle cx="12" cy="12" r="9"/><path d="M12 7.5v5.5"/><path d="M12 16.4v.1"/>`,
  clock: () => markup`<circle cx="12" cy="12" r="9"/><path d="M12 7v5.2l3.2 2"/>`,
  phone: () => markup`<rect x="7" y="2.5" width="10" height="19" rx="2.5"/><path d="M11 18.5h2"/><path d="m9.8 10.6 1.7 1.7 3-3.2"/>`,
  link: () =>
    markup`<path d="M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1"/><path d="M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1"/>`,
  file: () =>
    markup`<path d="M13.5 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V8.5Z"/><path d="M13.5 3v5.5H19"/><path d="M9 13h6M9 16.5h4"/>`,
};

export type IconName = keyof typeof drawings;

export function icon(name: IconName): Markup {
  return markup`<svg class="icon" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">${drawings[name]()}</svg>`;
}
