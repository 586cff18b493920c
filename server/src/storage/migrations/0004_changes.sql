-- Reasons kept: each counted row of each refresh with its evidence; and what lets a refresh that finds nothing cost little.

-- One row for each transaction that a refresh counted as new, updated or deleted, in the order of `n` within its account.
create table changes (
  refresh_id text not null references refreshes (id) on delete cascade,
  account_id bigint not null,
  n bigint not null,
  transaction_id bigint not null,
  -- `resurrected` is counted as updated.
  kind text not null check (kind in ('new', 'updated', 'deleted', 'resurrected')),
  -- The rule of change detection that decided, and what it rested on (JSON).
  stage text not null,
  evidence text not null,
  -- The row as a client sees it (JSON): null before it was born, and after it was deleted.
  row_before text,
  row_after text,
  primary key (refresh_id, account_id, n)
);

alter table refreshes add column traceparent text;

-- The answer that a whole comparison found nothing new in (JSON), while nothing has changed since; null without one.
alter table accounts add column settled text;

-- The newest refresh's timestamp, which is the `updated_at` of every live account of the item that has none later.
alter table items add column accounts_updated_at bigint not null default 0;

-- Whether a hold that books keeps its row, or is deleted and recreated under a new id.
alter table applications add column pending_transition text not null default 'update' check (pending_transition in ('update', 'recreate'));
