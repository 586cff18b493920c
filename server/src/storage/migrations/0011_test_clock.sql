-- What a test clock needs to walk a year in seconds.

-- Rows that every refresh looks at, however old they are: pending, announced or under suspicion. Without it each look read
-- every row that the account ever had.
create index transactions_open on transactions (account_id, deleted_at, date) where status <> 'booked' or missing > 0;
