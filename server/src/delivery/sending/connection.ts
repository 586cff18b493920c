/** One connection to a receiver, used by one request at a time, and opened again when the receiver has closed it. */
// The file and not the package: all of undici, with its browser's fetch and web sockets, is 7 MB more in memory.
import Client from 'undici/lib/dispatcher/client.js';
import { type Opener, Opening } from './opening.ts';

export class Connection {
  readonly client: Client;
  /** How it was opened for the request that uses it now; null where it was open before. */
  opening: Opening | null = null;
  private discarded = false;

  constructor(origin: string, open: Opener) {
    this.client = new Client(origin, {
      pipelining: 1,
      // The deadline of the attempt replaces the client's own: 0 turns those off.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) => {
        this.opening = new Opening();
        open(this.opening, options, callback);
      },
    });
  }

  /** A socket is being opened. */
  get busy(): boolean {
    return this.opening !== null && this.opening.phase !== 'open';
  }

  get usable(): boolean {
    return !this.discarded && !this.client.closed && !this.client.destroyed;
  }

  /** Ends it with whatever is under way. */
  discard(): void {
    this.discarded = true;
    this.opening?.abort();
    this.client.destroy().catch(() => {});
  }
}
