-- Segments of the log, and deliveries that died, gathered by minute until they are told in one event.

insert into segments (segment, starts, opened_at)
values (1, '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]', coalesce((select min(committed_at) from events), 0));
-- Its hours stand in `audited_hours`: it may go.
alter table segments add column frozen_at bigint;

create table dead_minutes (
  endpoint_id text not null,
  minute bigint not null,
  deaths bigint not null,
  primary key (endpoint_id, minute)
);

-- The audit asks for the ranges of a lane.
create index skipped_by_lane on skipped (lane, after_seq);
