-- The operator's word on deletions that the breaker of an account holds: when it was given (real time), and which one a refresh
-- has taken. Apart, because a refresh writes the whole account as it was when it began.
alter table accounts add column breaker_released_at bigint;
alter table accounts add column breaker_release_taken bigint;
