-- Refreshes that somebody waits for are found behind any backlog of those that nobody watches.
create index refreshes_watched on refreshes (run_at) where finished_at is null and cause in ('connect', 'api');
