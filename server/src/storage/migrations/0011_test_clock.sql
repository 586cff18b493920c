-- What a test clock needs to walk a year in seconds, and to be moved by the command line beside a server.

-- Rows that every refresh looks at, however old they are: pending, announced or under suspicion. Without it each look read
-- every row that the account ever had.
create index transactions_open on transactions (account_id, deleted_at, date) where status <> 'booked' or missing > 0;

-- The command line asks a running server to move a clock together with the deliveries, which only a server makes. The server
-- that takes a row writes what came of it (JSON); whoever asked deletes it. Times are of the real clock.
create table clock_wishes (
  id text primary key,
  application_id text not null,
  -- One of the two: by how long, or to which moment of the application's clock.
  by_ms bigint,
  to_at bigint,
  asked_at bigint not null,
  taken_at bigint,
  outcome text
);
