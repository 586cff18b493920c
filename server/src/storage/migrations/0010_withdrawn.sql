-- Raised when an erasure begins and when it ends: each running server notices it by its heartbeat, and sends nothing more.
alter table configuration add column erasures bigint not null default 0;
