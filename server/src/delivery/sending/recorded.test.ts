/** What the log of attempts holds of each of them, on both engines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachEngine } from '../../../test/support/engines.ts';
import { sql } from '../../storage/sql.ts';
import { createWorld, startReceiver } from '../testing.ts';

type Row = {
  delivered: number;
  status: number | null;
  duration_ms: number;
  dns_ms: number | null;
  connect_ms: number | null;
  tls_ms: number | null;
  first_byte_ms: number | null;
  failure: string | null;
  snippet: string | null;
};

eachEngine('recorded attempts', (openStorage) => {
  test('have their times: of the connection only where one was opened, and of failures too', async (t) => {
    const world = await createWorld(await openStorage(t), t);
    let status = 200;
    const receiver = await startReceiver(t, (_, response) => response.writeHead(status).end('text'));
    await world.endpoint(receiver.url);
    const delivery = await world.start();
    for (const [index, next] of [200, 200, 500].entries()) {
      status = next;
      delivery.wake(await world.append([1]));
      await delivery.settled(index + 1);
    }
    const rows = await world.storage.all<Row>(
      sql`select delivered, status, duration_ms, dns_ms, connect_ms, tls_ms, first_byte_ms, failure, snippet from attempts order by seq`,
    );
    const [opened, reused, failed] = rows as [Row, Row, Row];
    assert.deepEqual(
      rows.map(({ delivered, status, failure, snippet }) => [delivered, status, failure, snippet]),
      [
        [1, 200, null, null],
        [1, 200, null, null],
        [0, 500, 'status', 'text'],
      ],
    );
    assert.ok(opened.connect_ms !== null && opened.connect_ms > 0 && opened.connect_ms <= opened.duration_ms);
    assert.deepEqual([opened.dns_ms, opened.tls_ms, reused.dns_ms, reused.connect_ms, failed.connect_ms], [null, null, null, null, null]);
    for (const row of rows) assert.ok(row.first_byte_ms !== null && row.first_byte_ms > 0 && row.first_byte_ms <= row.duration_ms);
  });
});
