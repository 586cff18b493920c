-- Ended replays, and the hours of the audit that stand for good, are kept as long as the history is.
create index replays_ended on replays (finished_at) where finished_at is not null;
create index audited_hours_by_hour on audited_hours (hour);
