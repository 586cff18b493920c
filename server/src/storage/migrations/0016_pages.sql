-- Attempts in the order of time within each kind (endpoint, type, outcome with its status), in place of all of an endpoint and
-- its failures: every filter of the attempt log is then a choice of kinds, each read from its newest end. The third column is
-- `status * 2 + delivered`, where no status counts as 0; cast, because SQLite compares an expression with a column only by its type.
drop index attempts_by_endpoint;
drop index attempts_failed;
create index attempts_by_kind on attempts (endpoint_id, type, (cast(coalesce(status, 0) * 2 + delivered as bigint)), at);

-- With the item at its end: a lane's events of one item are found in the index alone.
drop index events_by_application;
create index events_by_application on events (application_id, lane, seq, item_id);

-- The metrics ask for frozen hours that did not balance.
create index audited_hours_unbalanced on audited_hours (endpoint_id)
  where matched <> delivered + dead + skipped + expired + erased;

-- The live rows of an account by id, for a customer who compares a copy: by another order each page sorted the whole account.
-- Measured on SQLite: 4.5 us of CPU for each row that is written, beside 39 for the row and its other indexes.
create index transactions_live on transactions (account_id, id) where is_deleted = 0;
