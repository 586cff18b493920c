/** A database that does not answer, or has no room: nothing is sent meanwhile, and it is told once, until it is over. */
import { isDiskFull } from '../storage/storage.ts';
import type { Log } from '../telemetry/log.ts';

export type Trouble = {
  isOn(): boolean;
  begin(error: unknown): void;
  /** The database has answered: it is on again when something else fails. */
  forget(): void;
  /** Tells that it is over, where it was told that it began. */
  tellEnd(): void;
};

/** `isOver`: nobody is interested any more. */
export function createTrouble(log: Log, isOver: () => boolean): Trouble {
  let on = false;
  let told = false;
  return {
    isOn: () => on,
    begin(error) {
      on = true;
      if (told || isOver()) return;
      told = true;
      const cause = isDiskFull(error)
        ? "the database's disk is full; it goes on when there is room"
        : 'the database did not answer; it goes on by itself';
      log.error({ error }, `delivery pauses: ${cause}`);
    },
    forget() {
      on = false;
    },
    tellEnd() {
      if (told) log.info({}, 'delivery goes on');
      told = false;
    },
  };
}
