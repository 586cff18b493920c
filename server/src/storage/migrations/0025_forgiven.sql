-- The configuration's version with which its owner last vouched for it, or gave it another receiver: what a node saw under an
-- older one is forgiven, also where it is written later.
alter table endpoint_health add column forgiven_version bigint not null default 0;
