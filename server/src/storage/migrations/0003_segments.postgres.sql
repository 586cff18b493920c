-- The log and its attempts in partitions, one for each segment: retention drops a table instead of deleting rows. The
-- key begins with lane and seq, so that reading a lane needs no second index, and ends with the segment, by which
-- reading leaves out partitions.

alter table events rename to events_1;
alter table events_1 drop constraint events_pkey;
alter table events_1 add constraint events_1_pkey primary key (lane, seq, segment);
drop index events_by_lane;
alter index events_by_application rename to events_1_by_application;
create table events (like events_1 including defaults including constraints) partition by list (segment);
alter table events add primary key (lane, seq, segment);
create index events_by_application on events (application_id, lane, seq);
alter table events attach partition events_1 for values in (1);

alter table attempts rename to attempts_1;
alter table attempts_1 drop constraint attempts_pkey1;
alter table attempts_1 add constraint attempts_1_pkey primary key (lane, seq, endpoint_id, source, replay_id, n, segment);
alter index attempts_by_endpoint rename to attempts_1_by_endpoint;
alter index attempts_failed rename to attempts_1_failed;
create table attempts (like attempts_1 including defaults including constraints) partition by list (segment);
alter table attempts add primary key (lane, seq, endpoint_id, source, replay_id, n, segment);
create index attempts_by_endpoint on attempts (endpoint_id, at);
create index attempts_failed on attempts (endpoint_id, at) where delivered = 0;
alter table attempts attach partition attempts_1 for values in (1);
