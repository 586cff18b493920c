-- Ended replays, and the hours of the audit that stand for good, are kept as long as the history is.
create index replays_ended on replays (finished_at) where finished_at is not null;
create index audited_hours_by_hour on audited_hours (hour);

-- What is old goes by a reading of the clock that has stood for an hour: the one that is waited with, and the one that may be
-- believed. Kept over restarts; null before the first.
alter table configuration add column clock_read_at bigint;
alter table configuration add column clock_believed_at bigint;

-- Whose claim it is: the life of a node in `nodes`. Null for whoever is not there, as the command line: such a claim ends by time.
alter table refreshes add column claimed_by text;
create index refreshes_claimed on refreshes (claimed_by) where running = 1 and finished_at is null;

-- An item of many rows is erased in steps, which end in one transaction: since when (real time), and how many transactions went
-- before. A user who is erased with such items.
alter table items add column erasing_at bigint;
alter table items add column erased_rows bigint not null default 0;
alter table users add column erasing_at bigint;
create index items_erasing on items (erasing_at) where erasing_at is not null;
create index users_erasing on users (erasing_at) where erasing_at is not null;
