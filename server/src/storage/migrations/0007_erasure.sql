-- Erasures: what was asked to be forgotten. The rows go with the request; the log, the attempts and the bank follow, step
-- by step. While one is under way it names what it looks for; its receipt names nobody.
create table erasures (
  id text primary key,
  application_id text not null,
  kind text not null check (kind in ('item', 'user')),
  state text not null check (state in ('running', 'done')),
  -- JSON while it runs: the items with their place in the log, and whether their bank was told. Null in the receipt.
  work text,
  -- JSON: how many rows of each kind went.
  counts text not null,
  -- Real time. The claim of whoever works at it ends then.
  claimed_until bigint not null default 0,
  requested_at bigint not null,
  finished_at bigint
);
create index erasures_running on erasures (requested_at) where state = 'running';
create index erasures_by_application on erasures (application_id, requested_at);
