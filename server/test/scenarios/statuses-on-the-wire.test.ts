/** What a receiver with our SDK makes of every status that a refresh can end in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKnownEvent, parseEvent } from '@pontage/sdk';
import { demoBank } from '../../src/connectors/sandbox/demo-bank.ts';
import { knownInfos } from '../../src/connectors/statuses.ts';
import { renderBody } from '../../src/events/catalogue.ts';
import { eachEngine } from '../support/engines.ts';
import { createWorld } from '../support/world.ts';

/** No bank answers -2 and -3; a success is 0. */
const FAILURES = Object.keys(knownInfos).filter((status) => Number(status) > 0);

eachEngine('statuses on the wire', (open) => {
  test('the item.refreshed of every status is read as the event that it is', async (t) => {
    const world = await createWorld(await open(t), [demoBank({ latencyMs: 0 })]);
    for (const status of FAILURES) await world.connect(574, { USER: status, PWD: 'any' });
    const read = (await world.events()).map((event) => parseEvent(renderBody(event)));
    assert.ok(read.every(isKnownEvent));
    const seen = read.flatMap((event) =>
      isKnownEvent(event) && event.type === 'item.refreshed' ? [String(event.content.status_code)] : [],
    );
    assert.deepEqual(new Set(seen), new Set(FAILURES));
  });
});
