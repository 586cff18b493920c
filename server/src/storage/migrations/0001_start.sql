-- One text for both engines: times are epoch milliseconds, money is integer minor units with an exponent and a
-- currency, JSON and sealed blobs are text, states are text with a check, flags are 0 or 1.

create table counters (name text primary key, value bigint not null);
insert into counters (name, value) values ('items', 4000000), ('accounts', 22000000), ('transactions', 36000000000000);

-- One row. `version` is raised by every change of configuration that a running server must notice.
create table configuration (one bigint primary key check (one = 1), version bigint not null);
insert into configuration (one, version) values (1, 1);

-- ---------------------------------------------------------------- access

create table applications (
  id text primary key,
  name text not null,
  environment text not null check (environment in ('sandbox', 'production')),
  client_id text not null unique,
  client_secret_digest text not null,
  redirect_url text,
  -- The test clock of a sandbox: how far the application's clock is ahead of the real one.
  clock_offset_ms bigint not null default 0 check (clock_offset_ms >= 0),
  created_at bigint not null
);

create table users (
  uuid text primary key,
  application_id text not null references applications (id),
  external_user_id text,
  email text,
  password_digest text,
  -- The newest event timestamp of this user: the next is larger, so that no two bodies are equal.
  last_event_at bigint not null default 0,
  created_at bigint not null,
  unique (application_id, external_user_id),
  unique (application_id, email)
);
create index users_by_application on users (application_id, uuid);

create table access_tokens (
  digest text primary key,
  application_id text not null references applications (id),
  user_uuid text not null references users (uuid) on delete cascade,
  expires_at bigint not null
);
create index access_tokens_by_expiry on access_tokens (expires_at);
create index access_tokens_by_user on access_tokens (user_uuid);

-- Data keys, wrapped by the operator's key. Destroying a row makes everything sealed under it unreadable.
create table data_keys (
  id text primary key,
  wrapped text not null,
  wrapping_key_id text not null,
  created_at bigint not null
);
create index data_keys_by_wrapping_key on data_keys (wrapping_key_id);

-- ---------------------------------------------------------------- items, accounts, transactions

create table items (
  id bigint primary key,
  application_id text not null references applications (id),
  user_uuid text not null references users (uuid),
  bank_id bigint not null,
  status bigint not null,
  status_code_info text,
  data_key_id text not null,
  credentials text,
  -- What the connector keeps between refreshes (tokens, imported file hashes), sealed.
  connector_state text,
  -- Credentials of a first connection that never succeeded are erased at this moment (real time).
  credentials_expire_at bigint,
  connected_once bigint not null default 0,
  history_complete bigint not null default 0,
  -- An anomaly, or a new consent, asks that the next refresh be a full one.
  full_refresh_wanted bigint not null default 0,
  refresh_count bigint not null default 0,
  last_refreshed_at bigint,
  -- When the next unattended refresh is due: real time, already moved by the application's test clock.
  due_at bigint,
  created_at bigint not null
);
create index items_by_user on items (user_uuid, id);
create index items_by_application on items (application_id, id);
create index items_due on items (due_at) where due_at is not null;
create index items_credentials_expiring on items (credentials_expire_at) where credentials_expire_at is not null;

create table accounts (
  id bigint primary key,
  item_id bigint not null references items (id),
  user_uuid text not null,
  bank_id bigint not null,
  identity text,
  name text not null,
  type text not null check (type in ('checking', 'savings', 'brokerage', 'card', 'loan', 'shared_saving_plan', 'pending', 'life_insurance', 'special', 'unknown')),
  currency text not null,
  iban text,
  is_pro bigint not null default 0,
  loan_details text,
  savings_details text,
  balance_minor bigint,
  balance_exponent bigint,
  balance_kind text,
  balance_at text,
  status bigint not null default 0,
  status_code_info text,
  -- How far the bank's row ids can be trusted, and what the mass-deletion breaker remembers: JSON of change detection.
  trust text not null default '{}',
  breaker text,
  next_window_from text,
  history_complete bigint not null default 0,
  -- Since when, and in how many complete account lists, the account has been absent.
  absent_since bigint,
  absences bigint not null default 0,
  deleted_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);
create index accounts_by_user on accounts (user_uuid, id);
create index accounts_by_item on accounts (item_id, id);

create table transactions (
  id bigint primary key,
  account_id bigint not null references accounts (id),
  user_uuid text not null,
  status text not null check (status in ('booked', 'pending', 'scheduled')),
  amount_minor bigint not null,
  amount_exponent bigint not null,
  currency text not null,
  date text not null,
  date_source text not null check (date_source in ('booking', 'transaction', 'value')),
  booking_date text,
  transaction_date text,
  value_date text,
  bank_description text not null,
  clean_description text not null,
  category_id bigint not null,
  show_client_side bigint not null default 1,
  counterparty_name text,
  counterparty_iban text,
  end_to_end_id text,
  provider_id text,
  aliases text not null default '[]',
  balance_after_minor bigint,
  balance_after_exponent bigint,
  missing bigint not null default 0,
  missing_at bigint,
  is_deleted bigint not null default 0,
  deleted_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);
create index transactions_by_account_date on transactions (account_id, date, id);
create index transactions_by_account_update on transactions (account_id, updated_at, id);
create index transactions_by_user_date on transactions (user_uuid, date, id);
create index transactions_by_user_update on transactions (user_uuid, updated_at, id);

-- ---------------------------------------------------------------- refreshes

create table refreshes (
  id text primary key,
  item_id bigint not null references items (id),
  application_id text not null,
  user_uuid text not null,
  cause text not null check (cause in ('connect', 'completion', 'api', 'scheduler')),
  state text not null check (state in ('authenticating', 'retrieving_data', 'info_required', 'finished', 'invalid_creds', 'finished_error')),
  phase text not null check (phase in ('recent', 'full', 'incremental')),
  -- The challenge on show (JSON), and what the connector needs to go on (sealed), while `info_required`.
  challenge text,
  challenge_state text,
  challenged_at bigint,
  challenge_expires_at bigint,
  -- A code typed by the user and not yet handed to the bank (sealed).
  answer text,
  refreshed_accounts_count bigint,
  total_accounts_count bigint,
  status bigint,
  status_code_info text,
  full_refresh bigint,
  -- What was asked, answered and found, account by account (JSON).
  record text,
  -- When a worker may take it (real time); while one runs it, when its lease ends. The epoch fences a stale worker.
  run_at bigint not null,
  epoch bigint not null default 0,
  started_at bigint not null,
  finished_at bigint
);
create index refreshes_by_item on refreshes (item_id, started_at);
create index refreshes_open on refreshes (run_at) where finished_at is null;
-- One refresh at a time per item: a second request joins the first.
create unique index refreshes_one_open on refreshes (item_id) where finished_at is null;

-- ---------------------------------------------------------------- connect

create table connect_sessions (
  id text primary key,
  application_id text not null references applications (id),
  user_uuid text not null references users (uuid) on delete cascade,
  purpose text not null check (purpose in ('add', 'edit', 'sync')),
  item_id bigint,
  bank_id bigint,
  refresh_id text,
  redirect_url text,
  context text,
  country text,
  language text not null default 'en',
  -- Set by the first POST: from then on only the browser with this cookie may go on.
  cookie_digest text,
  step text not null,
  link_expires_at bigint not null,
  idle_expires_at bigint,
  ended_at bigint,
  created_at bigint not null
);
create index connect_sessions_by_user on connect_sessions (user_uuid);

-- ---------------------------------------------------------------- events: 64 ordered logs

-- `lane_heads` belongs to writers, `lane_leases` to the delivering node: apart, so that neither waits for the other.
create table lane_heads (lane bigint primary key, segment bigint not null, head bigint not null);
create table lane_leases (lane bigint primary key, owner text, epoch bigint not null, renewals bigint not null, settled bigint not null);

create table events (
  segment bigint not null,
  lane bigint not null,
  seq bigint not null,
  application_id text not null,
  type text not null,
  user_uuid text,
  item_id bigint,
  account_id bigint,
  refresh_id text,
  -- For test events only: the one endpoint that gets it.
  endpoint_id text,
  content text not null,
  timestamp bigint not null,
  committed_at bigint not null,
  primary key (segment, lane, seq)
);
create index events_by_lane on events (lane, seq);
create index events_by_application on events (application_id, lane, seq);

-- ---------------------------------------------------------------- endpoints and deliveries

create table endpoints (
  id text primary key,
  application_id text not null references applications (id),
  name text not null,
  url text not null,
  events text not null,
  enabled bigint not null default 1,
  data_key_id text not null,
  deleted_at bigint,
  created_at bigint not null,
  updated_at bigint not null
);
create index endpoints_by_application on endpoints (application_id);

create table endpoint_secrets (
  id text primary key,
  endpoint_id text not null references endpoints (id),
  sealed text not null,
  created_at bigint not null,
  -- Null for the newest; the one before it stays valid until here.
  expires_at bigint
);
create index endpoint_secrets_by_endpoint on endpoint_secrets (endpoint_id, created_at);

-- Immutable: what an endpoint matched from these lane positions on. An event is matched by the version in force at its seq.
create table endpoint_versions (
  endpoint_id text not null references endpoints (id),
  version bigint not null,
  application_id text not null,
  events text not null,
  matching bigint not null,
  from_positions text not null,
  created_at bigint not null,
  primary key (endpoint_id, version)
);

-- A delivery that failed and waits (`retry`), was put aside before its first attempt (`waiting`), or gave up (`dead`).
create table parked (
  endpoint_id text not null,
  lane bigint not null,
  seq bigint not null,
  state text not null check (state in ('retry', 'waiting', 'dead')),
  attempts bigint not null,
  due_at bigint,
  parked_at bigint not null,
  primary key (endpoint_id, lane, seq)
);
create index parked_due on parked (due_at) where due_at is not null;

create table attempts (
  lane bigint not null,
  seq bigint not null,
  endpoint_id text not null,
  source text not null check (source in ('live', 'retry', 'test')),
  n bigint not null,
  at bigint not null,
  delivered bigint not null,
  status bigint,
  duration_ms double precision not null,
  failure text,
  message text,
  snippet text,
  primary key (lane, seq, endpoint_id, source, n)
);
create index attempts_by_endpoint on attempts (endpoint_id, at);
create index attempts_failed on attempts (endpoint_id, at) where delivered = 0;
