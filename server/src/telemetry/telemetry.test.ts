import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite, test } from 'node:test';
import { createMetrics, type Standing } from './metrics.ts';
import { startTraces } from './traces.ts';

const STANDING: Standing = {
  ...{ lanes: 64, queued: 3, underWay: 2, unflushed: 1, refreshesOpen: 4, statements: 5 },
  lag: new Map([['wh_1', 1_200]]),
  parked: new Map([['dead', 7]]),
};

suite('metrics', () => {
  test('are what was counted, and what stands at the scrape', async () => {
    const metrics = createMetrics(async () => STANDING);
    metrics.attempt({ source: 'live', failureClass: null, durationMs: 12, sinceCommitMs: 15 });
    metrics.attempt({ source: 'retry', failureClass: 'timeout', durationMs: 10_000, sinceCommitMs: null });
    metrics.refresh({ status: 0, durationMs: 900 });
    metrics.audit([{ endpointId: 'wh_1', matched: 9, classes: { delivered: 8, dead: 1 } }], 0);
    metrics.auditFound(new Map([['wh_gone', { unbalancedHours: 9, faults: 9, frozenHours: 9 }]]));
    metrics.auditFound(new Map([['wh_1', { unbalancedHours: 2, faults: 3, frozenHours: 1 }]]));
    metrics.auditedAll(1_700_000_000_000);
    const { text, contentType } = await metrics.expose();
    assert.doesNotMatch(text, /wh_gone/);
    assert.match(contentType, /^text\/plain/);
    for (const line of [
      'pontage_delivery_attempts_total{source="live",outcome="delivered",failure=""} 1',
      'pontage_delivery_attempts_total{source="retry",outcome="failed",failure="timeout"} 1',
      'pontage_delivery_attempt_seconds_bucket{le="0.01",outcome="delivered"} 0',
      'pontage_delivery_attempt_seconds_bucket{le="0.025",outcome="delivered"} 1',
      'pontage_commit_to_receiver_seconds_count 1',
      'pontage_refreshes_total{status="0"} 1',
      'pontage_lanes_owned 64',
      'pontage_deliveries_queued 3',
      'pontage_storage_statements_total 5',
      'pontage_endpoint_lag_events{webhook="wh_1"} 1200',
      'pontage_deliveries_parked{state="dead"} 7',
      'pontage_audit_deliveries{webhook="wh_1",class="matched"} 9',
      'pontage_audit_faults 0',
      'pontage_audit_unbalanced_hours{webhook="wh_1"} 2',
      'pontage_audit_log_faults{webhook="wh_1"} 3',
      'pontage_audit_frozen_unbalanced_hours{webhook="wh_1"} 1',
      'pontage_audit_log_seconds 1700000000',
    ]) {
      assert.ok(text.split('\n').includes(line), line);
    }
  });

  test('go on where the database does not answer', async () => {
    const metrics = createMetrics(() => Promise.reject(new Error('down')));
    metrics.refresh({ status: 1003, durationMs: 1 });
    assert.match((await metrics.expose()).text, /pontage_refreshes_total\{status="1003"\} 1/);
  });
});

test('spans reach a collector with the ids under which others know them', async (t) => {
  const received: { path: string | undefined; body: string }[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    received.push({ path: request.url, body: Buffer.concat(chunks).toString('latin1') });
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  }).listen(0, '127.0.0.1');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  const traces = await startTraces(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, '1.2.3');
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const refresh = `00-${trace}-00f067aa0ba902b7-01`;
  const attempt = `00-${trace}-b7ad6b7169203331-01`;
  const times = { startedAt: 1_700_000_000_000, endedAt: 1_700_000_000_250, attributes: { 'pontage.item': 7 } };
  traces.record({ ...times, name: 'refresh', kind: 'internal', traceparent: refresh, parent: null, error: null });
  traces.record({ ...times, name: 'deliver webhook', kind: 'client', traceparent: attempt, parent: refresh, error: 'timeout' });
  traces.record({ ...times, name: 'lost', kind: 'internal', traceparent: 'no trace', parent: null, error: null });
  await traces.stop();
  assert.equal(received.length, 1);
  assert.equal(received[0]!.path, '/v1/traces');
  const [{ resource, scopeSpans }] = (JSON.parse(received[0]!.body) as { resourceSpans: [Resource] }).resourceSpans;
  assert.ok(resource.attributes.some(({ key, value }) => key === 'service.name' && value.stringValue === 'pontage'));
  const spans = scopeSpans.flatMap((scope) => scope.spans);
  assert.deepEqual(
    spans.map(({ name, traceId, spanId, parentSpanId }) => [name, traceId, spanId, parentSpanId ?? null]),
    [
      ['refresh', trace, '00f067aa0ba902b7', null],
      ['deliver webhook', trace, 'b7ad6b7169203331', '00f067aa0ba902b7'],
    ],
  );
  assert.deepEqual(spans[1]!.status, { code: 2, message: 'timeout' });
});

type Resource = {
  resource: { attributes: { key: string; value: { stringValue?: string } }[] };
  scopeSpans: { spans: { name: string; traceId: string; spanId: string; parentSpanId?: string; status: object }[] }[];
};
