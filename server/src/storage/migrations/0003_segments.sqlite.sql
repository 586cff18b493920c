-- The same key as on PostgreSQL: it begins with lane and seq, so that reading a lane needs no second index. Measured
-- with 300,000 events: 9.5 us of CPU for each instead of 13.

alter table events rename to events_1;
drop index events_by_lane;
drop index events_by_application;
create table events (
  segment bigint not null,
  lane bigint not null,
  seq bigint not null,
  application_id text not null,
  type text not null,
  user_uuid text,
  item_id bigint,
  account_id bigint,
  refresh_id text,
  endpoint_id text,
  content text not null,
  timestamp bigint not null,
  committed_at bigint not null,
  sequences text,
  traceparent text,
  about_endpoint_id text,
  erased bigint not null default 0 check (erased in (0, 1)),
  primary key (lane, seq, segment)
);
insert into events (segment, lane, seq, application_id, type, user_uuid, item_id, account_id, refresh_id, endpoint_id, content, timestamp, committed_at, sequences, traceparent, about_endpoint_id, erased)
  select segment, lane, seq, application_id, type, user_uuid, item_id, account_id, refresh_id, endpoint_id, content, timestamp, committed_at, sequences, traceparent, about_endpoint_id, erased
  from events_1;
drop table events_1;
create index events_by_application on events (application_id, lane, seq);

alter table attempts rename to attempts_1;
drop index attempts_by_endpoint;
drop index attempts_failed;
create table attempts (
  segment bigint not null,
  lane bigint not null,
  seq bigint not null,
  endpoint_id text not null,
  source text not null check (source in ('live', 'retry', 'test', 'probe', 'replay')),
  replay_id text not null default '',
  n bigint not null,
  at bigint not null,
  delivered bigint not null,
  status bigint,
  duration_ms double precision not null,
  dns_ms double precision,
  connect_ms double precision,
  tls_ms double precision,
  first_byte_ms double precision,
  type text not null default '',
  item_id bigint,
  failure text,
  message text,
  snippet text,
  primary key (lane, seq, endpoint_id, source, replay_id, n, segment)
);
insert into attempts (segment, lane, seq, endpoint_id, source, replay_id, n, at, delivered, status, duration_ms, dns_ms, connect_ms, tls_ms, first_byte_ms, type, item_id, failure, message, snippet)
  select segment, lane, seq, endpoint_id, source, replay_id, n, at, delivered, status, duration_ms, dns_ms, connect_ms, tls_ms, first_byte_ms, type, item_id, failure, message, snippet
  from attempts_1;
drop table attempts_1;
create index attempts_by_endpoint on attempts (endpoint_id, at);
create index attempts_failed on attempts (endpoint_id, at) where delivered = 0;
