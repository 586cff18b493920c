import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT_TYPES, EventFormatError, exampleEvent, isKnownEvent, type KnownEvent, parseEvent } from './index.ts';

const WIRE = [
  '{"content":{"item_id":4568477,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612782588323,"type":"item.created"}',
  '{"content":{"account_id":22908770,"balance":1678.12,"item_id":4568477,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612782588323,"type":"item.account.created"}',
  '{"content":{"account_id":22908770,"balance":1678.12,"item_id":4568477,"nb_deleted_transactions":0,"nb_new_transactions":15,"nb_updated_transactions":0,"user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612782588323,"type":"item.account.updated"}',
  '{"content":{"user_uuid":"4568f180-03ea-4915-af47-f266f06b6949","item_id":8390176,"account_id":38439071},"timestamp":1694506737325,"type":"item.account.deleted"}',
  '{"content":{"full_refresh":false,"item_id":4568565,"status_code":0,"status_code_info":"OK","user_uuid":"766b2f5d-a942-492c-9ea7-2e5aa88cb672"},"timestamp":1612783550980,"type":"item.refreshed"}',
  '{"content":{"item_id":1234567890,"status":0,"user_uuid":"9a95b38f-f98b-417a-988b-9d0d584893e7"},"timestamp":1611681789,"type":"TEST_EVENT"}',
];

/** Compiles only while every known type narrows and no other is left. */
function idOf(event: KnownEvent): number {
  switch (event.type) {
    case 'item.account.created':
    case 'item.account.updated':
    case 'item.account.deleted':
      return event.content.account_id;
    case 'item.created':
    case 'item.refreshed':
    case 'TEST_EVENT':
      return event.content.item_id;
    default:
      return event satisfies never;
  }
}

test('the examples are the documented bodies, byte for byte', () => {
  assert.deepEqual(
    EVENT_TYPES.map((type) => JSON.stringify(exampleEvent(type))),
    WIRE,
  );
});

test('every documented body is read as a known event', () => {
  for (const json of WIRE) {
    const event = parseEvent(json);
    assert.ok(isKnownEvent(event));
    assert.ok(idOf(event) > 0);
    assert.equal(JSON.stringify(event), json);
  }
});

test('a status without an info comes with null', () => {
  const json = WIRE[4]!.replace('"status_code":0,"status_code_info":"OK"', '"status_code":1007,"status_code_info":null');
  const event = parseEvent(json);
  assert.ok(isKnownEvent(event) && event.type === 'item.refreshed');
  assert.equal(event.content.status_code_info, null);
  assert.throws(() => parseEvent(json.replace('"status_code_info":null,', '')), EventFormatError);
});

test('an example takes other content and is a new object each time', () => {
  const event = exampleEvent('item.refreshed', { status_code: 402, status_code_info: 'WRONG_PWD' });
  assert.equal(event.content.status_code, 402);
  event.content.item_id = 1;
  assert.equal(exampleEvent('item.refreshed').content.item_id, 4568565);
});

test('unknown types and unknown fields pass', () => {
  for (const type of ['item.deleted', 'toString', '__proto__']) {
    const event = parseEvent(JSON.stringify({ content: { item_id: 1 }, timestamp: 2, type }));
    assert.equal(isKnownEvent(event), false);
    assert.equal(event.type, type);
  }
  const more = parseEvent('{"content":{"item_id":1,"user_uuid":"u","context":"c"},"timestamp":2,"type":"item.created"}');
  assert.ok(isKnownEvent(more));
  assert.deepEqual(more.content, { item_id: 1, user_uuid: 'u', context: 'c' });
});

test('a body that is no event says which field is wrong', () => {
  const cases: [string, RegExp][] = [
    ['{', /^The body is not JSON: /],
    ['[]', /^An event is a JSON object; this is an array\.$/],
    ['null', /this is null\.$/],
    ['{"content":{},"timestamp":1}', /^The event's `type` must be a string; it is missing\.$/],
    ['{"content":{},"timestamp":"1","type":"x"}', /^The x event's `timestamp` must be a number; it is a string\.$/],
    ['{"content":[],"timestamp":1,"type":"x"}', /^The x event's `content` must be an object; it is an array\.$/],
    ['{"content":{"item_id":"1"},"timestamp":1,"type":"item.created"}', /`content\.item_id` must be an integer; it is a string\.$/],
    ['{"content":{"item_id":1},"timestamp":1,"type":"item.created"}', /`content\.user_uuid` must be a string; it is missing\.$/],
  ];
  for (const [json, message] of cases) {
    assert.throws(
      () => parseEvent(json),
      (error) => error instanceof EventFormatError && message.test(error.message),
      json,
    );
  }
});
