/**
 * Spans of finished work, sent to an OpenTelemetry collector over OTLP/HTTP. A span is told when its work has ended, with
 * the ids under which others know it: an event carries the trace of its refresh, a webhook the span of its attempt.
 * Nothing is loaded, and nothing costs anything, where no collector is configured.
 */

/** `traceparent` (W3C) is the span's own; `parent` that of the work it belongs to. Times are epoch milliseconds. */
export type FinishedSpan = {
  name: string;
  kind: 'internal' | 'client';
  traceparent: string;
  parent: string | null;
  startedAt: number;
  endedAt: number;
  attributes: Readonly<Record<string, string | number | boolean>>;
  /** Why it failed, or null. */
  error: string | null;
};

export type Traces = { record(span: FinishedSpan): void; stop(): Promise<void> };

export const noTraces: Traces = { record() {}, async stop() {} };

/** A collector that does not answer must not keep a server from stopping. */
const STOP_MAX_MS = 2_000;

/** `endpoint` is the collector's base address, as in `OTEL_EXPORTER_OTLP_ENDPOINT`. */
export async function startTraces(endpoint: string, version: string): Promise<Traces> {
  const [{ BatchSpanProcessor, TracerProvider }, { OTLPTraceExporter }, { resourceFromAttributes }, api] = await Promise.all([
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/api'),
  ]);
  // The ids were given before the span is: these are handed on, once each.
  let ids = { trace: '', span: '' };
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces` });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'pontage', 'service.version': version }),
    idGenerator: { generateTraceId: () => ids.trace, generateSpanId: () => ids.span },
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer('pontage', version);
  return {
    record({ name, kind, traceparent, parent, startedAt, endedAt, attributes, error }) {
      const own = readTraceparent(traceparent);
      if (!own) return;
      ids = { trace: own.traceId, span: own.spanId };
      const above = parent === null ? null : readTraceparent(parent);
      const context = above
        ? api.trace.setSpanContext(api.ROOT_CONTEXT, { ...above, traceFlags: api.TraceFlags.SAMPLED, isRemote: true })
        : api.ROOT_CONTEXT;
      const spanKind = kind === 'client' ? api.SpanKind.CLIENT : api.SpanKind.INTERNAL;
      const span = tracer.startSpan(name, { kind: spanKind, startTime: startedAt, attributes }, context);
      if (error !== null) span.setStatus({ code: api.SpanStatusCode.ERROR, message: error });
      span.end(endedAt);
    },
    async stop() {
      const late = new Promise<void>((resolve) => setTimeout(resolve, STOP_MAX_MS).unref());
      await Promise.race([provider.shutdown().catch(() => {}), late]);
    },
  };
}

function readTraceparent(text: string): { traceId: string; spanId: string } | null {
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(text);
  return match ? { traceId: match[1]!, spanId: match[2]! } : null;
}
