/** How a webhook fares, in lines for people: above all why nothing arrives. */
import { isoTimestamp } from '../base/clock.ts';
import { COUNTED_MAX } from '../delivery/attempts/backlog.ts';
import type { Condition } from '../delivery/attempts/condition.ts';

/** What is as it should be is left out, but for the circuit, the newest success and the backlog. */
export function conditionLines({ backlog, ...condition }: Condition): string[] {
  const { nextProbeAt, pausedUntil, lastSuccessAt, lastFailureAt } = condition;
  const rows: [string, string | null][] = [
    ['Circuit', circuitText(condition)],
    ['Next probe', nextProbeAt === null ? null : isoTimestamp(nextProbeAt)],
    ['Paused until', pausedUntil === null ? null : `${isoTimestamp(pausedUntil)}, as the receiver asked`],
    ['Last success', lastSuccessAt === null ? 'none' : isoTimestamp(lastSuccessAt)],
    ['Last failure', lastFailureAt === null ? null : isoTimestamp(lastFailureAt)],
    ['Behind', backlog.behindSince === null ? null : `${count(backlog.behind)} events, since ${isoTimestamp(backlog.behindSince)}`],
    ['Deliveries', `${count(backlog.retry)} to be tried again, ${count(backlog.waiting)} behind them, ${count(backlog.dead)} given up`],
  ];
  return rows.flatMap(([title, value]) => (value === null ? [] : [`  ${title.padEnd(14)}${value}`]));
}

function circuitText({ circuit, answered, failuresInARow, failingSince }: Omit<Condition, 'backlog'>): string {
  const since = failingSince === null ? '' : ` since ${isoTimestamp(failingSince)}`;
  const run = `${failuresInARow} failures in a row${since}`;
  switch (circuit) {
    case 'closed':
      return failuresInARow === 0 ? 'closed' : `closed, ${run}`;
    case 'open':
      return `open, ${run}: only probes are sent`;
    case 'half_open':
      return answered
        ? `half open: it answers again after failing${since}, and is sent what it missed`
        : `half open: it failed${since}, is taken for well by its owner, and has received nothing yet`;
    default:
      return circuit satisfies never;
  }
}

function count(number: number): string {
  return number === COUNTED_MAX ? `${number} or more` : String(number);
}
