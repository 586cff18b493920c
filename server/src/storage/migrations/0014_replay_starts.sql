-- A long range is counted as far as a request may take: then `total` is the least that it sends, until it has ended.
alter table replays add column total_known bigint not null default 1 check (total_known in (0, 1));
-- The caller's name for one start: asked again, it answers the same replay.
alter table replays add column idempotency_key text;
create unique index replays_by_idempotency_key on replays (application_id, idempotency_key) where idempotency_key is not null;
