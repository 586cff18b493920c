/**
 * A scenario: what a bank does, day by day, as a small file says it. Day 1 begins when the user connects, and each further
 * day 24 hours later; what stands on a day holds from its first moment, or from its `hour`.
 */
import { z } from 'zod';

const NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;
/** A year before the connection to ten years after it: more is a slip of the keyboard. */
const DAY = { least: -365, most: 3_650 };
/** What one file may hold; the largest preset has a few dozen rows. */
const LIMITS = { accounts: 20, days: 1_000, stepsPerDay: 1_000, rowsPerStep: 20_000, text: 10_000 } as const;

const name = z.string().regex(NAME, 'write a short name of lower-case letters, digits and hyphens');
const day = z.int().min(DAY.least).max(DAY.most);
const text = z.string().min(1).max(LIMITS.text);
/** Decimals as people write them, `-4.20` or `"-4.20"`; read exactly, in the account's currency. */
const amount = z.union([z.number(), z.string().regex(/^[+-]?\d+(\.\d{1,5})?$/, 'write an amount, e.g. -4.20')]).transform(String);

/** What the bank does with its ids of rows. */
export const ID_STYLES = ['stable', 'changing', 'new', 'none', 'positional', 'counter'] as const;
export type IdStyle = (typeof ID_STYLES)[number];
const ids = z
  .enum(ID_STYLES)
  .describe(
    'stable: kept; changing: another at booking; new: another at every answer; none; positional: date and place; counter: 1, 2, 3 …',
  );

const account = z.strictObject({
  key: name.describe('how the steps below call it'),
  name: text.optional(),
  type: z
    .enum(['checking', 'savings', 'brokerage', 'card', 'loan', 'shared_saving_plan', 'life_insurance', 'special', 'unknown'])
    .default('checking'),
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, 'write three capital letters, e.g. EUR')
    .default('EUR'),
  iban: z
    .string()
    .regex(/^[A-Z]{2}\d{2}[A-Z0-9]{8,30}$/, 'write an IBAN without spaces')
    .nullable()
    .default(null),
  identity: z.enum(['stable', 'none']).default('stable').describe('none: the bank has no lasting number for the account'),
  balance: amount.default('0').describe('before the first row of this file'),
  ids: ids.default('stable'),
  opens: day.default(DAY.least).describe('the day from which the bank lists it'),
});

const of = { account: name.optional().describe('may be left out where there is only one account') };
const row = name.describe('how later steps call the row');
const shape = { amount, label: text, date: day.optional().describe('day of the row; the day of the step by default') };
const rows = z.strictObject({
  ...of,
  row: row.optional(),
  ...shape,
  count: z.int().min(1).max(LIMITS.rowsPerStep).default(1).describe('that many identical rows'),
  shown: z.boolean().default(true).describe('false: a row that also stands on a linked account'),
});

/** Each step is one of these words with its details. */
export const STEPS = {
  booked: rows,
  pending: rows,
  scheduled: rows,
  book: z
    .strictObject({
      row,
      amount: amount.optional(),
      label: text.optional(),
      date: day.optional(),
      id: z.enum(['kept', 'new', 'linked']).default('kept'),
    })
    .describe('a pending or scheduled row is booked, perhaps with another amount, label or date'),
  change: z.strictObject({ row, amount: amount.optional(), label: text.optional(), date: day.optional() }),
  remove: z.strictObject({ row }).describe('the bank shows the row no more'),
  restore: z.strictObject({ row }).describe('and shows it again'),
  adjust: z.strictObject({ ...of, by: amount }).describe('the balance moves, and no row says why'),
  renumber: z.strictObject({ ...of, ids: ids.optional() }).describe('the bank gives all rows new ids, perhaps of another kind'),
  relabel: z
    .strictObject({ ...of, drop: text.optional(), add: text.optional() })
    .describe('from now on labels lose a prefix, or have another'),
  truncate: z
    .strictObject({ ...of, rows: z.int().min(0).max(LIMITS.rowsPerStep), admits: z.boolean().default(true) })
    .describe('only that many newest rows are answered; `admits: false` is a bank that calls them complete'),
  whole: z.strictObject({ ...of }).describe('ends `truncate`'),
  vanish: z.strictObject({ ...of }).describe('the bank lists the account no more'),
  return: z.strictObject({ ...of }).describe('and lists it again'),
  down: z.strictObject({ info: text.default('BANK_IS_DOWN') }).describe('the bank does not answer: status 1003'),
  up: z.strictObject({}).describe('ends `down`'),
  slow: z.strictObject({ seconds: z.number().min(0).max(20) }).describe('each answer takes that long, in real time; 0 ends it'),
  refuse: z
    .strictObject({ status: z.literal([402, 429, 1005, 1007, 1010]), info: text.optional() })
    .describe('the login fails with this status'),
  accept: z.strictObject({}).describe('ends `refuse`'),
  expire: z.strictObject({}).describe('the consent ends: 1010 until the user renews it'),
  renew: z.strictObject({}).describe('the user comes through Connect and renews the consent'),
} as const;
export type Word = keyof typeof STEPS;

const step = z
  .strictObject(Object.fromEntries(Object.entries(STEPS).map(([word, details]) => [word, details.optional()])) as OptionalSteps)
  .refine((given) => Object.keys(given).length === 1, 'a step is one word with its details, e.g. "remove: { row: coffee }"');
type OptionalSteps = { [W in Word]: z.ZodOptional<(typeof STEPS)[W]> };

export const scenarioSchema = z.strictObject({
  name,
  title: text,
  about: text.describe('what goes wrong at such banks, and what Pontage does'),
  accounts: z.array(account).min(1).max(LIMITS.accounts),
  days: z
    .array(
      z.strictObject({
        day,
        hour: z.number().min(0).max(23.99).default(0),
        does: z.array(step).min(1).max(LIMITS.stepsPerDay),
      }),
    )
    .max(LIMITS.days),
  lasts: z.int().min(1).max(DAY.most).describe('days that a run plays'),
  expect: z
    .array(z.strictObject({ day: z.int().min(1).max(DAY.most), events: z.array(z.string()).min(1) }))
    .optional()
    .describe('the events of each day, but for quiet refreshes (item.refreshed 0) and repeated failures'),
});

export type ScenarioAccount = z.output<typeof account>;
export type StepDetails<W extends Word> = z.output<(typeof STEPS)[W]>;
/** One step at its moment; `atMs` is the time since the connection, and negative before it. */
export type Step = { [W in Word]: { word: W; atMs: number; day: number } & StepDetails<W> }[Word];

export type Scenario = {
  name: string;
  title: string;
  about: string;
  accounts: readonly ScenarioAccount[];
  /** In the order in which they happen. */
  steps: readonly Step[];
  lastsDays: number;
  /** Lines as `expectation.ts` writes them, by day; null where the file expects nothing. */
  expect: ReadonlyMap<number, readonly string[]> | null;
};
