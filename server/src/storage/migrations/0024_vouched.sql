-- Of a half-open circuit: 1 when the receiver has answered since, 0 when only its owner says that it is well.
alter table endpoint_health add column answered bigint not null default 1 check (answered in (0, 1));
