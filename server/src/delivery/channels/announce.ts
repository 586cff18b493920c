/** What changes of an endpoint's health mean beyond it: the endpoint is disabled, and operators are told. */
import { MINUTE_MS } from '../../base/clock.ts';
import { disableEndpoint } from '../../endpoints/endpoints.ts';
import { appendOperationalEvents } from '../../events/append.ts';
import type { OperationalDraft } from '../../events/catalogue.ts';
import { laneOf } from '../../events/log.ts';
import { sql, sqlList } from '../../storage/sql.ts';
import type { Writer } from '../../storage/storage.ts';
import type { Raised } from './circuits.ts';
import type { Transition } from './health.ts';

type About = { id: string; application_id: string; name: string; url: string };

/** The last statements of the transaction that writes the health: heads of lanes are locked, in ascending order. */
export async function announce(tx: Writer, raised: readonly Raised[], now: number): Promise<void> {
  const told: Raised[] = [];
  for (const one of raised) {
    const { endpointId, transition } = one;
    // Of one that its owner has disabled meanwhile there is nothing to tell.
    if (transition.kind === 'disabled' && !(await disableEndpoint(tx, endpointId, transition.reason, now))) continue;
    told.push(one);
  }
  const ids = [...new Set(told.map(({ endpointId }) => endpointId))];
  if (ids.length === 0) return;
  const rows = await tx.all<About>(
    sql`select id, application_id, name, url from endpoints where id in ${sqlList(ids)} and deleted_at is null`,
  );
  const about = new Map(rows.map((row) => [row.id, row]));
  const byApplication = new Map<string, OperationalDraft[]>();
  for (const { endpointId, transition } of told) {
    const endpoint = about.get(endpointId);
    const draft = endpoint && draftOf(endpoint, transition, now);
    if (draft) byApplication.set(endpoint.application_id, [...(byApplication.get(endpoint.application_id) ?? []), draft]);
  }
  const inOrder = [...byApplication].sort(([a], [b]) => laneOf(`application:${a}`) - laneOf(`application:${b}`));
  for (const [applicationId, drafts] of inOrder) {
    await appendOperationalEvents(tx, { applicationId, refreshId: null, committedAt: now }, drafts);
  }
}

function draftOf({ id, name, url }: About, transition: Transition, now: number): OperationalDraft | null {
  const about = { endpointId: id, name, url };
  switch (transition.kind) {
    case 'failing': {
      const { failures, since } = transition;
      const reason = `${failures} deliveries in a row failed. Events wait and lose no attempt; one request now and then finds out when the receiver is back.`;
      return { type: 'pontage.endpoint.failing', ...about, failures, failingSince: since, reason };
    }
    case 'recovered': {
      const minutes = Math.max(1, Math.round((now - transition.since) / MINUTE_MS));
      const reason = `The receiver answers again, after ${minutes === 1 ? 'a minute' : `${minutes} minutes`}.`;
      return { type: 'pontage.endpoint.recovered', ...about, failingSince: transition.since, recoveredAt: now, reason };
    }
    case 'disabled':
      return { type: 'pontage.endpoint.disabled', ...about, cause: transition.reason, disabledAt: now, reason: REASONS[transition.reason] };
    case 'recovering':
    case 'paused':
      return null;
    default:
      return transition satisfies never;
  }
}

const REASONS = {
  gone: 'The receiver answered 410, which means "never again". Its events are kept: enable the webhook when it is wanted.',
  failing: 'Nothing was received for five days. Its events are kept: repair the receiver, then enable the webhook.',
} as const;
