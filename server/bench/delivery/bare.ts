/** The least that a program must do to send the same bytes, headers and signatures with undici, and it stores nothing. */
import { type Dispatcher, Pool } from 'undici';
import { createSigner } from '../../src/delivery/sending/signing.ts';
import { CONCURRENCY_DEFAULT } from '../../src/endpoints/limits.ts';
import { renderBody } from '../../src/events/catalogue.ts';
import { eventId, laneOf } from '../../src/events/log.ts';
import { draft } from './place.ts';

export type BareSender = {
  /** Resolves when it is answered; `id` is the event's. */
  send(number: number): { id: string; answered: Promise<void> };
  close(): Promise<void>;
};

export function bareSender(target: string, secret: string): BareSender {
  const { origin, pathname: path } = new URL(target);
  const pool = new Pool(origin, { connections: CONCURRENCY_DEFAULT, pipelining: 1 });
  const sign = createSigner([{ secret, expiresAt: null }]);
  return {
    send(number) {
      const event = draft(number);
      const id = eventId(laneOf(`item:${event.itemId}`), number + 1);
      const now = Date.now();
      const body = Buffer.from(renderBody({ type: event.type, content: JSON.stringify(event), timestamp: now }));
      const timestamp = String(Math.floor(now / 1_000));
      const signatures = sign(id, timestamp, body, now)!;
      const headers = [
        ...['content-type', 'application/json', 'user-agent', 'Pontage/0.0.0', 'BridgeApi-Signature', signatures.bridge],
        ...['webhook-id', id, 'webhook-timestamp', timestamp, 'webhook-signature', signatures.standard!],
        ...['pontage-sequence', String(number)],
      ];
      return { id, answered: answered(pool, { path, method: 'POST', headers, body }) };
    },
    close: () => pool.close(),
  };
}

/** undici's own quickest way: no promise of a response, no stream of its body. */
function answered(pool: Pool, request: Dispatcher.DispatchOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    pool.dispatch(request, {
      onRequestStart() {},
      onResponseStart() {},
      onResponseData() {},
      onResponseEnd: () => resolve(),
      onResponseError: (_, error) => reject(error),
    });
  });
}

/** `count` requests, as many at once as an endpoint of ours; answers how many a second. */
export async function bareLoop(target: string, secret: string, count: number): Promise<number> {
  const sender = bareSender(target, secret);
  let next = 0;
  const work = async () => {
    while (next < count) {
      next += 1;
      await sender.send(next - 1).answered;
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: CONCURRENCY_DEFAULT }, work));
  const perSecond = (count / (performance.now() - started)) * 1_000;
  await sender.close();
  return perSecond;
}
