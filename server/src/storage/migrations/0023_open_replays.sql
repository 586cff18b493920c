-- What waits for another attempt of a replay, by the replay: only its endpoint led to it, through all that waits there. Live
-- deliveries are not in it, and cost no more than before.
create index parked_of_replay on parked (replay_id, state) where replay_id <> '';

-- With the replay at its end: live deliveries of a state are counted in the index alone, where 10,000 of them took 35 ms and more.
drop index parked_by_state;
create index parked_by_state on parked (endpoint_id, state, lane, seq, replay_id);

-- Those that are paused count too, and end with their webhook.
drop index replays_running;
create index replays_open on replays (finished_at, application_id) where finished_at is null;
