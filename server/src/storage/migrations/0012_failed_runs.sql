-- How often a refresh was run and failed by a fault of ours: one that does again and again must end, and tell so.
alter table refreshes add column failed_runs bigint not null default 0;
