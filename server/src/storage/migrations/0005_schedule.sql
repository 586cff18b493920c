-- The scheduler: what it remembers of each item, consents that end, banks that are left in peace, and clocks that move.

-- JSON of `refresh/schedule`: recent calls to the bank, failures in a row, credentials that were refused. It stands on the
-- item's row, which every refresh writes anyway: a row for each call would make an unchanged refresh dear.
alter table items add column schedule text not null default '{}';
-- When the user's consent ends, on the application's clock; null where the bank names no end.
alter table items add column consent_expires_at bigint;

-- Bands of the day for unattended refreshes, `[[from, to], …]` in minutes of the UTC day; null for the default ones.
alter table applications add column refresh_bands text;
-- Who moves the test clock now, and until when at the latest (real time): one advance at a time.
alter table applications add column clock_mover text;
alter table applications add column clock_mover_until bigint not null default 0;

-- Whether a worker has the record: a clock that moves must not touch the end of its claim.
alter table refreshes add column running bigint not null default 0;

-- Banks that fail for most of their items: a row is an open circuit. `domain` is `production`, or a sandbox application,
-- whose clock its times are of.
create table bank_circuits (
  domain text not null,
  bank_id bigint not null,
  opened_at bigint not null,
  probe_at bigint not null,
  probes bigint not null,
  probe_item_id bigint,
  primary key (domain, bank_id)
);
