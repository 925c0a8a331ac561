-- The book (workspaces, contacts, consent, campaigns) and the queue (deliveries, lanes, attempts, events).
-- Kept in step with migrations/sqlite by a test that compares tables, columns, keys and indexes.
-- Times are milliseconds UTC. Ids are made by the store. Tables written at every delivery (delivery, queue, attempt,
-- event, counter) have no foreign keys: their rows are made by one statement from rows that were just read.

CREATE TABLE installation (
  id BIGINT NOT NULL PRIMARY KEY,
  key_check BYTEA NOT NULL,
  created_at BIGINT NOT NULL
);

CREATE TABLE workspace (
  id BIGINT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  controller_name TEXT NOT NULL,
  postal_address TEXT NOT NULL,
  privacy_url TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  public_url TEXT NOT NULL,
  settings JSONB NOT NULL,
  undo_seconds BIGINT NOT NULL,
  hosted_copies BOOLEAN NOT NULL,
  suspended_at BIGINT,
  created_at BIGINT NOT NULL
);

CREATE TABLE account (
  id BIGINT NOT NULL PRIMARY KEY,
  mailbox TEXT NOT NULL,
  mailbox_norm TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  disabled_at BIGINT,
  failed_logins BIGINT NOT NULL,
  locked_until BIGINT
);

CREATE TABLE role (
  account_id BIGINT NOT NULL REFERENCES account(id),
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  role TEXT NOT NULL,
  PRIMARY KEY (account_id, workspace_id)
);

CREATE TABLE session (
  hash BYTEA NOT NULL PRIMARY KEY,
  account_id BIGINT NOT NULL REFERENCES account(id),
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL,
  agent TEXT,
  ip TEXT
);
CREATE INDEX session_account ON session (account_id);

CREATE TABLE api_key (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  hash BYTEA NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  revoked_at BIGINT,
  created_by TEXT
);
CREATE INDEX api_key_workspace ON api_key (workspace_id, id);

CREATE TABLE audit (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT,
  at BIGINT NOT NULL,
  actor_kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  detail JSONB
);
CREATE INDEX audit_workspace ON audit (workspace_id, id);

CREATE TABLE setup (
  id BIGINT NOT NULL PRIMARY KEY,
  code_hash BYTEA,
  expires_at BIGINT,
  done_at BIGINT
);

-- Mailboxes are compared and sorted byte by byte, as SQLite does, so that prefixes use the key's index.
CREATE TABLE contact (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  mailbox TEXT NOT NULL,
  mailbox_norm TEXT COLLATE "C" NOT NULL,
  domain TEXT NOT NULL,
  attributes JSONB NOT NULL,
  zone TEXT,
  language TEXT,
  address_state TEXT NOT NULL,
  marks TEXT NOT NULL,
  hint TEXT,
  source TEXT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  erased_at BIGINT,
  UNIQUE (workspace_id, mailbox_norm)
);
CREATE INDEX contact_page ON contact (workspace_id, id);
CREATE INDEX contact_erased ON contact (erased_at) WHERE erased_at IS NOT NULL;

CREATE TABLE list (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX list_workspace ON list (workspace_id, id);

CREATE TABLE membership (
  list_id BIGINT NOT NULL REFERENCES list(id),
  contact_id BIGINT NOT NULL REFERENCES contact(id),
  added_at BIGINT NOT NULL,
  PRIMARY KEY (list_id, contact_id)
);
CREATE INDEX membership_contact ON membership (contact_id);

CREATE TABLE purpose (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX purpose_workspace ON purpose (workspace_id, id);

CREATE TABLE wording (
  id BIGINT NOT NULL PRIMARY KEY,
  purpose_id BIGINT NOT NULL REFERENCES purpose(id),
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  version BIGINT NOT NULL,
  language TEXT NOT NULL,
  text TEXT NOT NULL,
  text_hash BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (purpose_id, version, language)
);

CREATE TABLE consent (
  contact_id BIGINT NOT NULL,
  purpose_id BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  state TEXT NOT NULL,
  basis TEXT,
  since BIGINT NOT NULL,
  ledger_seq BIGINT NOT NULL,
  PRIMARY KEY (contact_id, purpose_id)
);

CREATE TABLE ledger (
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  seq BIGINT NOT NULL,
  prev BYTEA NOT NULL,
  commitment BYTEA NOT NULL,
  mac BYTEA NOT NULL,
  salt BYTEA,
  payload TEXT,
  kind TEXT NOT NULL,
  contact_id BIGINT,
  purpose_id BIGINT,
  at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, seq)
);
CREATE INDEX ledger_contact ON ledger (contact_id, seq);

CREATE TABLE ledger_head (
  workspace_id BIGINT NOT NULL PRIMARY KEY REFERENCES workspace(id),
  seq BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  count BIGINT NOT NULL
);

-- Either one mailbox (digest of its normalised form) or a whole domain (domain set, digest of "@domain").
CREATE TABLE suppression (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  digest BYTEA NOT NULL,
  mailbox_norm TEXT,
  domain TEXT,
  reason TEXT NOT NULL,
  scope TEXT NOT NULL,
  source TEXT NOT NULL,
  since BIGINT NOT NULL,
  until BIGINT,
  delivery_id BIGINT,
  UNIQUE (workspace_id, digest, scope)
);
CREATE INDEX suppression_page ON suppression (workspace_id, id);
CREATE INDEX suppression_domain ON suppression (workspace_id, domain) WHERE domain IS NOT NULL;

CREATE TABLE route (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  settings JSONB NOT NULL,
  sealed_password BYTEA,
  is_default BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX route_workspace ON route (workspace_id, id);

CREATE TABLE route_use (
  route_id BIGINT NOT NULL REFERENCES route(id),
  day TEXT NOT NULL,
  node BIGINT NOT NULL,
  used BIGINT NOT NULL,
  PRIMARY KEY (route_id, day, node)
);

CREATE TABLE quota_grant (
  limit_name TEXT NOT NULL,
  period BIGINT NOT NULL,
  node BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (limit_name, period, node)
);

CREATE TABLE campaign (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  objective TEXT NOT NULL,
  stream TEXT NOT NULL,
  state TEXT NOT NULL,
  audience JSONB NOT NULL,
  purpose_id BIGINT,
  policy JSONB NOT NULL,
  route_id BIGINT REFERENCES route(id),
  schedule JSONB,
  start_at BIGINT,
  undo_until BIGINT,
  rev BIGINT NOT NULL,
  frozen_at BIGINT,
  freeze_node BIGINT,
  freeze_epoch BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  launched_at BIGINT,
  finished_at BIGINT,
  copied_from BIGINT
);
CREATE INDEX campaign_workspace ON campaign (workspace_id, id);
CREATE INDEX campaign_state ON campaign (state, start_at);

CREATE TABLE variant (
  id BIGINT NOT NULL PRIMARY KEY,
  campaign_id BIGINT NOT NULL REFERENCES campaign(id),
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  label TEXT NOT NULL,
  draft JSONB NOT NULL,
  rev BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX variant_campaign ON variant (campaign_id, id);

CREATE TABLE version (
  id BIGINT NOT NULL PRIMARY KEY,
  variant_id BIGINT NOT NULL REFERENCES variant(id),
  campaign_id BIGINT NOT NULL REFERENCES campaign(id),
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  renderer BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  compiled BYTEA NOT NULL,
  uses JSONB NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX version_campaign ON version (campaign_id, id);

CREATE TABLE exclusion (
  campaign_id BIGINT NOT NULL,
  contact_id BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (campaign_id, contact_id)
);

CREATE TABLE delivery (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  campaign_id BIGINT,
  message_id BIGINT,
  contact_id BIGINT,
  version_id BIGINT,
  mailbox TEXT NOT NULL,
  mailbox_norm TEXT NOT NULL,
  domain TEXT NOT NULL,
  digest BYTEA NOT NULL,
  stream TEXT NOT NULL,
  vars JSONB,
  tracking TEXT NOT NULL,
  first_try_at BIGINT,
  dkim_key_id BIGINT,
  link_key BIGINT,
  outcome TEXT,
  reason TEXT,
  outcome_at BIGINT,
  attempts BIGINT NOT NULL,
  max_attempts BIGINT NOT NULL,
  last_result TEXT,
  last_at BIGINT,
  last_text TEXT
);
CREATE UNIQUE INDEX delivery_once_per_contact ON delivery (campaign_id, contact_id) WHERE campaign_id IS NOT NULL;
CREATE UNIQUE INDEX delivery_once_per_mailbox ON delivery (campaign_id, mailbox_norm) WHERE campaign_id IS NOT NULL;
CREATE INDEX delivery_report ON delivery (workspace_id, campaign_id, outcome, id);
CREATE INDEX delivery_contact ON delivery (contact_id);
CREATE INDEX delivery_message ON delivery (message_id) WHERE message_id IS NOT NULL;
-- Erasure finds single messages to a mailbox; campaign deliveries are found by contact.
CREATE INDEX delivery_message_mailbox ON delivery (workspace_id, mailbox_norm) WHERE campaign_id IS NULL;

CREATE TABLE lane (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  campaign_id BIGINT,
  stream TEXT NOT NULL,
  site TEXT NOT NULL,
  part BIGINT NOT NULL,
  owner BIGINT,
  epoch BIGINT NOT NULL,
  next_at BIGINT NOT NULL,
  closed BOOLEAN NOT NULL
);
CREATE UNIQUE INDEX lane_place ON lane (coalesce(campaign_id, 0), workspace_id, stream, site, part);
CREATE INDEX lane_owner ON lane (owner);

-- A row lives here only while its delivery is unsettled. The mark sets doubt_epoch, doubt_at, first_try_at,
-- dkim_key_id and link_key, none of which is indexed, so that PostgreSQL can keep it on its page (HOT).
CREATE TABLE queue (
  delivery_id BIGINT NOT NULL PRIMARY KEY,
  lane_id BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  ready_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  first_try_at BIGINT,
  dkim_key_id BIGINT,
  link_key BIGINT,
  doubt_epoch BIGINT,
  doubt_at BIGINT,
  held_reason TEXT,
  expires_at BIGINT
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_ready ON queue (lane_id, ready_at, delivery_id);

CREATE TABLE node (
  id BIGINT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  epoch BIGINT NOT NULL,
  beat BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  stopped_at BIGINT
);

CREATE TABLE mail_domain (
  name TEXT NOT NULL PRIMARY KEY,
  site TEXT,
  state TEXT NOT NULL,
  resolved_at BIGINT NOT NULL,
  look_again_at BIGINT NOT NULL,
  nxdomain_since BIGINT
);

CREATE TABLE attempt (
  id BIGINT NOT NULL PRIMARY KEY,
  delivery_id BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  campaign_id BIGINT,
  n BIGINT NOT NULL,
  at BIGINT NOT NULL,
  duration_ms BIGINT NOT NULL,
  stage TEXT NOT NULL,
  result TEXT NOT NULL,
  code BIGINT,
  enhanced TEXT,
  text TEXT NOT NULL,
  class TEXT,
  host TEXT NOT NULL,
  ip TEXT NOT NULL,
  source TEXT NOT NULL,
  tls TEXT NOT NULL,
  node BIGINT NOT NULL,
  doubt TEXT
);
CREATE INDEX attempt_delivery ON attempt (delivery_id);
CREATE INDEX attempt_campaign ON attempt (workspace_id, campaign_id, id);

CREATE TABLE event (
  node BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  at BIGINT NOT NULL,
  kind TEXT NOT NULL,
  delivery_id BIGINT,
  contact_id BIGINT,
  campaign_id BIGINT,
  attempt_id BIGINT,
  data JSONB,
  PRIMARY KEY (node, seq)
);

-- The last number given to an event of a node; its row lock is what keeps events of a node in order.
CREATE TABLE event_head (
  node BIGINT NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL
);

-- campaign_id 0: of the workspace as a whole. Readers sum over nodes.
CREATE TABLE counter (
  campaign_id BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  node BIGINT NOT NULL,
  value BIGINT NOT NULL,
  PRIMARY KEY (campaign_id, workspace_id, name, node)
);

CREATE TABLE message (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  stream TEXT NOT NULL,
  from_mailbox TEXT NOT NULL,
  subject TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  api_key BIGINT,
  test_of BIGINT
);
CREATE INDEX message_workspace ON message (workspace_id, id);

CREATE TABLE body (
  message_id BIGINT NOT NULL PRIMARY KEY REFERENCES message(id),
  bytes BYTEA NOT NULL
);

CREATE TABLE domain (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  return_path_host TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  checked JSONB,
  UNIQUE (workspace_id, name)
);

CREATE TABLE dkim_key (
  id BIGINT NOT NULL PRIMARY KEY,
  domain_id BIGINT NOT NULL REFERENCES domain(id),
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  selector TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  sealed BYTEA NOT NULL,
  public_txt TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  retired_at BIGINT,
  UNIQUE (domain_id, selector)
);

CREATE TABLE link_key (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  key_id BIGINT NOT NULL,
  sealed BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  retired_at BIGINT,
  UNIQUE (workspace_id, key_id)
);

CREATE TABLE import (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  state TEXT NOT NULL,
  file_path TEXT NOT NULL,
  file_name TEXT NOT NULL,
  size BIGINT NOT NULL,
  mapping JSONB NOT NULL,
  consent JSONB NOT NULL,
  counts JSONB NOT NULL,
  byte_offset BIGINT NOT NULL,
  rows BIGINT NOT NULL,
  detected JSONB,
  error TEXT,
  created_by TEXT,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  node BIGINT
);
CREATE INDEX import_workspace ON import (workspace_id, id);

CREATE TABLE import_refused (
  import_id BIGINT NOT NULL REFERENCES import(id),
  row BIGINT NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  raw TEXT NOT NULL,
  PRIMARY KEY (import_id, row)
);

CREATE TABLE idempotency (
  workspace_id BIGINT NOT NULL,
  key TEXT NOT NULL,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  request_hash BYTEA NOT NULL,
  status BIGINT,
  body BYTEA,
  at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE inquiry (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT,
  kind TEXT NOT NULL,
  args JSONB NOT NULL,
  deadline BIGINT NOT NULL,
  asked_at BIGINT NOT NULL,
  taken_by BIGINT,
  answer JSONB,
  answered_at BIGINT
);
CREATE INDEX inquiry_open ON inquiry (deadline) WHERE answered_at IS NULL;
CREATE INDEX lane_campaign ON lane (campaign_id);
