/**
 * A loop that runs `step` now and again: at once when woken, else after the pause that the last step asked for.
 * One step at a time. `stop` lets the running step end. A step that throws is reported and tried again after `errorPauseMs`.
 */
export type Loop = { wake(): void; stop(): Promise<void> };

export function startLoop(options: {
  step: () => Promise<{ pauseMs: number }>;
  onError: (error: unknown) => void;
  errorPauseMs?: number;
}): Loop {
  let stopped = false;
  let woken = false;
  let resume: (() => void) | null = null;

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(finish, ms);
      function finish() {
        clearTimeout(timer);
        resume = null;
        resolve();
      }
      resume = finish;
      if (woken || stopped) finish();
    });

  const ended = (async () => {
    while (!stopped) {
      woken = false;
      let pauseMs = options.errorPauseMs ?? 1_000;
      try {
        pauseMs = (await options.step()).pauseMs;
      } catch (error) {
        options.onError(error);
      }
      if (!stopped) await pause(pauseMs);
    }
  })();

  return {
    wake() {
      woken = true;
      resume?.();
    },
    stop() {
      stopped = true;
      resume?.();
      return ended;
    },
  };
}
