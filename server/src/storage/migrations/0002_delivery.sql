-- What delivery at full strength remembers: positions of endpoints that lag, the health of each endpoint, attempts with
-- their timings, skipped ranges, replays, and what an event needs to be numbered, traced and erased.

-- ---------------------------------------------------------------- events

-- How many events of each kind an item has had: `sequences` of an event is its item's state of this row, as a JSON list
-- in the order of the columns, so that a receiver's sequence counts the kinds it subscribes to.
create table event_counts (
  item_id bigint primary key,
  item_created bigint not null default 0,
  item_refreshed bigint not null default 0,
  account_created bigint not null default 0,
  account_updated bigint not null default 0,
  account_deleted bigint not null default 0
);
alter table events add column sequences text;
-- W3C trace context of the work that made the event.
alter table events add column traceparent text;
-- Operational events only: the endpoint they tell of, which is never told of itself.
alter table events add column about_endpoint_id text;
-- Erased with its user or item: the content is gone, the seq stays as a tombstone.
alter table events add column erased bigint not null default 0 check (erased in (0, 1));

-- Where each segment of the log begins: `starts` are the 64 lane positions before its first events.
create table segments (
  segment bigint primary key,
  starts text not null,
  opened_at bigint not null,
  -- The newest commit in it, once another segment is open.
  closed_at bigint
);

-- ---------------------------------------------------------------- endpoints

alter table endpoints add column ordering text not null default 'item' check (ordering in ('item', 'none'));
-- The owner enabled it "from now": for each lane, up to where nothing is wanted any more (JSON list). The node that leases
-- a lane moves the position there; nobody else does.
alter table endpoints add column skip_through text;
-- Null: the default of the server.
alter table endpoints add column concurrency_max bigint;
alter table endpoints add column rate_per_s double precision;
alter table endpoints add column deadline_ms bigint;
alter table endpoints add column retry_delays_ms text;
alter table endpoints add column silent_after_ms bigint;
-- JSON: names of headers and the certificate in clear; values of headers and the key sealed.
alter table endpoints add column custom_headers text;
alter table endpoints add column client_certificate text;
-- JSON: the receiver's public key and the algorithms; no secret.
alter table endpoints add column encryption text;
-- Why and when it was disabled; null while it is enabled.
alter table endpoints add column disabled_reason text check (disabled_reason in ('owner', 'gone', 'failing'));
alter table endpoints add column disabled_at bigint;

-- One row for each endpoint that ever failed or was paused; changed by compare-and-set on `revision`, so that nodes that
-- own different lanes of one endpoint agree. Times are epoch milliseconds of the real clock.
create table endpoint_health (
  endpoint_id text primary key,
  revision bigint not null,
  circuit text not null check (circuit in ('closed', 'open', 'half_open')),
  -- Failures in a row, across items.
  failures bigint not null default 0,
  failing_since bigint,
  last_success_at bigint,
  last_failure_at bigint,
  probes bigint not null default 0,
  -- Distinct hours in which a probe failed, and the newest of them.
  probe_hours bigint not null default 0,
  last_probe_hour bigint,
  -- How much of the failing run its probes witness: a clock that jumps proves nothing.
  observed_ms bigint not null default 0,
  next_probe_at bigint,
  -- The receiver asked for a pause (429 or 503 with Retry-After), and since when it has taken nothing and asked for pauses.
  paused_until bigint,
  paused_since bigint,
  silent_since bigint
);

-- Lagging: this endpoint follows the lane by itself, from here. Live endpoints have no row.
create table endpoint_positions (
  endpoint_id text not null,
  lane bigint not null,
  settled bigint not null,
  -- What is settled above `settled`: ranges `[first, last]` (JSON list, bounded).
  ahead text not null default '[]',
  since bigint not null,
  primary key (endpoint_id, lane)
);
create index endpoint_positions_by_lane on endpoint_positions (lane);

-- Ranges that the owner chose not to receive ("from now"), or that retention took before they were sent.
create table skipped (
  endpoint_id text not null,
  lane bigint not null,
  after_seq bigint not null,
  through_seq bigint not null,
  reason text not null check (reason in ('skipped', 'expired')),
  at bigint not null,
  primary key (endpoint_id, lane, after_seq)
);

-- ---------------------------------------------------------------- deliveries

alter table parked rename to parked_1;
drop index parked_due;
create table parked (
  endpoint_id text not null,
  lane bigint not null,
  seq bigint not null,
  -- Empty for live deliveries, else the replay it belongs to.
  replay_id text not null default '',
  item_id bigint,
  type text not null default '',
  state text not null check (state in ('retry', 'waiting', 'dead')),
  -- That its retry schedule counts; probes and answers that ask for a pause cost none.
  attempts bigint not null,
  -- That were made: numbers the rows of `attempts`.
  sent bigint not null default 0,
  due_at bigint,
  parked_at bigint not null,
  primary key (endpoint_id, lane, seq, replay_id)
);
insert into parked (endpoint_id, lane, seq, item_id, type, state, attempts, sent, due_at, parked_at)
  select p.endpoint_id, p.lane, p.seq, e.item_id, coalesce(e.type, ''), p.state, p.attempts, p.attempts, p.due_at, p.parked_at
  from parked_1 p left join events e on e.lane = p.lane and e.seq = p.seq;
drop table parked_1;
create index parked_due on parked (due_at) where due_at is not null;
create index parked_by_state on parked (endpoint_id, state, lane, seq);
create index parked_by_lane on parked (lane, seq);
create index parked_open on parked (lane, seq) where state <> 'dead';

alter table attempts rename to attempts_1;
drop index attempts_by_endpoint;
drop index attempts_failed;
create table attempts (
  segment bigint not null,
  lane bigint not null,
  seq bigint not null,
  endpoint_id text not null,
  source text not null check (source in ('live', 'retry', 'test', 'probe', 'replay')),
  -- Empty but for replays.
  replay_id text not null default '',
  n bigint not null,
  at bigint not null,
  delivered bigint not null,
  status bigint,
  duration_ms double precision not null,
  -- Null where the connection was open already, or where it did not come so far.
  dns_ms double precision,
  connect_ms double precision,
  tls_ms double precision,
  first_byte_ms double precision,
  type text not null default '',
  item_id bigint,
  failure text,
  message text,
  snippet text,
  primary key (segment, lane, seq, endpoint_id, source, replay_id, n)
);
insert into attempts (segment, lane, seq, endpoint_id, source, n, at, delivered, status, duration_ms, type, item_id, failure, message, snippet)
  select 1, a.lane, a.seq, a.endpoint_id, a.source, a.n, a.at, a.delivered, a.status, a.duration_ms, coalesce(e.type, ''), e.item_id, a.failure, a.message, a.snippet
  from attempts_1 a left join events e on e.lane = a.lane and e.seq = a.seq;
drop table attempts_1;
create index attempts_by_endpoint on attempts (endpoint_id, at);
create index attempts_failed on attempts (endpoint_id, at) where delivered = 0;

-- ---------------------------------------------------------------- replays

create table replays (
  id text primary key,
  application_id text not null,
  endpoint_id text not null,
  kind text not null check (kind in ('one', 'dead', 'range')),
  -- What it sends again (JSON): times, types, items, states.
  filter text not null,
  state text not null check (state in ('running', 'paused', 'cancelled', 'done')),
  rate_per_s double precision,
  -- Counted when it was made.
  total bigint not null,
  created_at bigint not null,
  finished_at bigint
);
create index replays_by_application on replays (application_id, created_at);
create index replays_running on replays (state) where state = 'running';

-- How far a replay is, lane by lane: fenced by the lane's epoch.
create table replay_positions (
  replay_id text not null,
  lane bigint not null,
  position bigint not null,
  through_seq bigint not null,
  sent bigint not null default 0,
  delivered bigint not null default 0,
  failed bigint not null default 0,
  primary key (replay_id, lane)
);

-- ---------------------------------------------------------------- conservation

-- Hours whose segments retention has taken: what the audit found then stands here for good.
create table audited_hours (
  endpoint_id text not null,
  hour bigint not null,
  matched bigint not null,
  delivered bigint not null,
  dead bigint not null,
  skipped bigint not null,
  expired bigint not null,
  erased bigint not null,
  primary key (endpoint_id, hour)
);
