-- Runs over which their worker died: each may have been a login that nobody has counted. The next run counts them.
alter table refreshes add column silent_runs bigint not null default 0;
