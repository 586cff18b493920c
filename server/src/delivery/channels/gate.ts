/** What an endpoint may be given now: the one place where pauses, circuits, rates and concurrency are asked. */
import { CONCURRENCY } from '../sending/sender.ts';
import type { Channel } from './channels.ts';

export type Gate = {
  /** False: nothing is started, and what is under way ends. Asked before each start. */
  maySend(): boolean;
  /** Requests under way at once, at least 1. Asked before each start. */
  concurrency(): number;
  /**
   * True: it follows no lane. Its queue is emptied, the log keeps its events, and its retries wait too. Where this turns
   * true or false by itself, the next heartbeat finds out; who turns it calls `refresh` of the delivery.
   */
  mustLag(): boolean;
};

export function createGate(channel: () => Channel): Gate {
  return {
    maySend: () => channel().enabled,
    concurrency: () => CONCURRENCY,
    mustLag: () => !channel().enabled,
  };
}
