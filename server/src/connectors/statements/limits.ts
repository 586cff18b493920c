/** The limits of an upload of statement files. A year of a busy account is about 5 MB; these leave room for ten of them. */

/** Bytes of one file: what can be held and parsed in memory in under a few seconds. */
export const FILE_MAX_BYTES = 20 * 1024 * 1024;
/** Files of one upload: four years of monthly statements. */
export const UPLOAD_MAX_FILES = 50;
/** Rows of one upload, all files together: one refresh is one transaction of the database. */
export const UPLOAD_MAX_ROWS = 200_000;
/** Statements of one upload: daily statements of ten accounts for nearly three years. They are compared pair by pair. */
export const UPLOAD_MAX_STATEMENTS = 10_000;
/** Elements within elements. CAMT.053 nests about 16 deep, OFX about 10. */
export const DEPTH_MAX_LEVELS = 64;
/** Elements held at one time: one entry with 30,000 details. Entries are let go as they are read. */
export const HELD_MAX_ELEMENTS = 1_000_000;
/** Characters of a file's name or of a wrong value that a sentence repeats. */
export const QUOTED_MAX_CHARACTERS = 60;
/** Files that an item recognises when they come again, and statements that a new one is judged beside: ten years of days, under 1 MB. */
export const REMEMBERED_MAX_FILES = 4_000;
export const REMEMBERED_MAX_STATEMENTS = 4_000;
