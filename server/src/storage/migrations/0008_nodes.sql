-- The servers that share the lanes. Who is in this table takes part; a node that has died is taken out by the one that
-- notices it, in the transaction that frees its lanes.
create table nodes (
  id text primary key,
  -- Random for each process: a node that was taken for dead, and has been started again, finds that it is another one.
  life text not null,
  -- Raised by each heartbeat. Others compare it with what they saw before, on their own clock.
  beats bigint not null,
  -- It holds a lock by its session: where that is free, the node is dead.
  present bigint not null check (present in (0, 1))
);
-- Whoever held lanes before this table was there joins anew.
update lane_leases set owner = null;
