/** Every sentence of Connect, one table per language. A missing text does not compile. */

import { english } from './texts-english.ts';
import { french } from './texts-french.ts';

export type Language = 'en' | 'fr';

export type Texts = {
  switchTo: string;
  skipToContent: string;
  secureConnection: string;
  stepsLabel: string;
  steps: readonly [string, string, string];
  stepDone: string;
  stepCurrent: string;
  facts: { encrypted: string; readOnly: string; revocable: string };
  leave: (application: string) => string;
  leaveAnonymous: string;
  problemTitle: string;
  continueTo: (application: string) => string;
  closeWindow: string;
  checkNow: string;
  anotherBank: string;
  start: {
    title: Record<'add' | 'edit' | 'sync', string>;
    lead: (application: string) => Record<'add' | 'edit' | 'sync', string>;
    factsTitle: string;
    button: string;
  };
  banks: {
    title: string;
    lead: string;
    searchLabel: string;
    searchPlaceholder: string;
    searchButton: string;
    showAll: string;
    highlighted: string;
    all: string;
    results: (count: number, query: string) => string;
    noneTitle: string;
    none: string;
  };
  credentials: {
    title: (bank: string) => string;
    titleEditing: (bank: string) => string;
    lead: string;
    leadEditing: string;
    button: string;
    buttonEditing: string;
    encrypted: (application: string) => string;
    goToField: string;
    busy: string;
  };
  files: {
    title: string;
    titleEditing: string;
    lead: string;
    label: string;
    hint: string;
    afterwards: string;
    button: string;
    buttonEditing: string;
    problemTitle: (count: number) => string;
    nothingKept: string;
    /** What stands in the list of banks, and what is said of it there. */
    listed: { name: string; note: string };
    uploadTooLarge: (mostBytes: number) => string;
  };
  synchronizing: {
    title: (bank: string) => string;
    phases: Record<SynchronizingPhase, string>;
    progressLabel: string;
    progressUnknown: string;
    progress: (refreshed: number, total: number) => string;
    stay: string;
  };
  otp: { title: string; lead: (bank: string) => string; label: string; wrong: string; button: string };
  approve: { title: string; lead: (bank: string) => string; waiting: string; stay: string };
  success: {
    title: string;
    lead: (bank: string, accounts: number) => string;
    leadFiles: (accounts: number) => string;
    /** Accounts that failed while others came. `later`: they are asked for again. */
    failed: (names: readonly string[], later: boolean) => string;
    next: string;
  };
  failure: { title: (bank: string) => string; retry: string };
  pending: { title: string; lead: (bank: string) => string; next: (application: string) => string };
  expired: { title: string; lead: string; next: string };
  notFound: { title: string; lead: string; next: string };
  tooMany: { title: string; lead: string; next: string };
  unavailable: { title: string; lead: string; next: string };
};

/** What the synchronization is doing, as `refresh/status` says it. */
export type SynchronizingPhase = 'authenticating' | 'retrieving_data';

export const texts: Record<Language, Texts> = { en: english, fr: french };
