-- The book (workspaces, contacts, consent, campaigns) and the queue (deliveries, lanes, attempts, events).
-- Kept in step with migrations/postgres by a test that compares tables, columns, keys and indexes.
-- Times are milliseconds UTC. Ids are made by the store. Tables written at every delivery (delivery, queue, attempt,
-- event, counter) have no foreign keys: their rows are made by one statement from rows that were just read.

CREATE TABLE installation (
  id INTEGER NOT NULL PRIMARY KEY,
  key_check BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE workspace (
  id INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  controller_name TEXT NOT NULL,
  postal_address TEXT NOT NULL,
  privacy_url TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  public_url TEXT NOT NULL,
  settings BLOB NOT NULL,
  undo_seconds INTEGER NOT NULL,
  hosted_copies INTEGER NOT NULL,
  suspended_at INTEGER,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE account (
  id INTEGER NOT NULL PRIMARY KEY,
  mailbox TEXT NOT NULL,
  mailbox_norm TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  disabled_at INTEGER,
  failed_logins INTEGER NOT NULL,
  locked_until INTEGER
) STRICT;

CREATE TABLE role (
  account_id INTEGER NOT NULL REFERENCES account(id),
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  role TEXT NOT NULL,
  PRIMARY KEY (account_id, workspace_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
  hash BLOB NOT NULL PRIMARY KEY,
  account_id INTEGER NOT NULL REFERENCES account(id),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL,
  agent TEXT,
  ip TEXT
) STRICT;
CREATE INDEX session_account ON session (account_id);

CREATE TABLE api_key (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  revoked_at INTEGER,
  created_by TEXT
) STRICT;
CREATE INDEX api_key_workspace ON api_key (workspace_id, id);

CREATE TABLE audit (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER,
  at INTEGER NOT NULL,
  actor_kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  detail BLOB
) STRICT;
CREATE INDEX audit_workspace ON audit (workspace_id, id);

CREATE TABLE setup (
  id INTEGER NOT NULL PRIMARY KEY,
  code_hash BLOB,
  expires_at INTEGER,
  done_at INTEGER
) STRICT;

CREATE TABLE contact (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  mailbox TEXT NOT NULL,
  mailbox_norm TEXT NOT NULL,
  domain TEXT NOT NULL,
  attributes BLOB NOT NULL,
  zone TEXT,
  language TEXT,
  address_state TEXT NOT NULL,
  marks TEXT NOT NULL,
  hint TEXT,
  source TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  erased_at INTEGER,
  UNIQUE (workspace_id, mailbox_norm)
) STRICT;
CREATE INDEX contact_page ON contact (workspace_id, id);
CREATE INDEX contact_erased ON contact (erased_at) WHERE erased_at IS NOT NULL;

CREATE TABLE list (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX list_workspace ON list (workspace_id, id);

CREATE TABLE membership (
  list_id INTEGER NOT NULL REFERENCES list(id),
  contact_id INTEGER NOT NULL REFERENCES contact(id),
  added_at INTEGER NOT NULL,
  PRIMARY KEY (list_id, contact_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_contact ON membership (contact_id);

CREATE TABLE purpose (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX purpose_workspace ON purpose (workspace_id, id);

CREATE TABLE wording (
  id INTEGER NOT NULL PRIMARY KEY,
  purpose_id INTEGER NOT NULL REFERENCES purpose(id),
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  version INTEGER NOT NULL,
  language TEXT NOT NULL,
  text TEXT NOT NULL,
  text_hash BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (purpose_id, version, language)
) STRICT;

CREATE TABLE consent (
  contact_id INTEGER NOT NULL,
  purpose_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  state TEXT NOT NULL,
  basis TEXT,
  since INTEGER NOT NULL,
  ledger_seq INTEGER NOT NULL,
  PRIMARY KEY (contact_id, purpose_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger (
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  seq INTEGER NOT NULL,
  prev BLOB NOT NULL,
  commitment BLOB NOT NULL,
  mac BLOB NOT NULL,
  salt BLOB,
  payload TEXT,
  kind TEXT NOT NULL,
  contact_id INTEGER,
  purpose_id INTEGER,
  at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, seq)
) STRICT;
CREATE INDEX ledger_contact ON ledger (contact_id, seq);

CREATE TABLE ledger_head (
  workspace_id INTEGER NOT NULL PRIMARY KEY REFERENCES workspace(id),
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  count INTEGER NOT NULL
) STRICT;

-- Either one mailbox (digest of its normalised form) or a whole domain (domain set, digest of "@domain").
CREATE TABLE suppression (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  digest BLOB NOT NULL,
  mailbox_norm TEXT,
  domain TEXT,
  reason TEXT NOT NULL,
  scope TEXT NOT NULL,
  source TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER,
  delivery_id INTEGER,
  UNIQUE (workspace_id, digest, scope)
) STRICT;
CREATE INDEX suppression_page ON suppression (workspace_id, id);
CREATE INDEX suppression_domain ON suppression (workspace_id, domain) WHERE domain IS NOT NULL;

CREATE TABLE route (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  settings BLOB NOT NULL,
  sealed_password BLOB,
  is_default INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX route_workspace ON route (workspace_id, id);

CREATE TABLE route_use (
  route_id INTEGER NOT NULL REFERENCES route(id),
  day TEXT NOT NULL,
  node INTEGER NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (route_id, day, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE quota_grant (
  limit_name TEXT NOT NULL,
  period INTEGER NOT NULL,
  node INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (limit_name, period, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE campaign (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  objective TEXT NOT NULL,
  stream TEXT NOT NULL,
  state TEXT NOT NULL,
  audience BLOB NOT NULL,
  purpose_id INTEGER,
  policy BLOB NOT NULL,
  route_id INTEGER REFERENCES route(id),
  schedule BLOB,
  start_at INTEGER,
  undo_until INTEGER,
  rev INTEGER NOT NULL,
  frozen_at INTEGER,
  freeze_node INTEGER,
  freeze_epoch INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  launched_at INTEGER,
  finished_at INTEGER,
  copied_from INTEGER
) STRICT;
CREATE INDEX campaign_workspace ON campaign (workspace_id, id);
CREATE INDEX campaign_state ON campaign (state, start_at);

CREATE TABLE variant (
  id INTEGER NOT NULL PRIMARY KEY,
  campaign_id INTEGER NOT NULL REFERENCES campaign(id),
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  label TEXT NOT NULL,
  draft BLOB NOT NULL,
  rev INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX variant_campaign ON variant (campaign_id, id);

CREATE TABLE version (
  id INTEGER NOT NULL PRIMARY KEY,
  variant_id INTEGER NOT NULL REFERENCES variant(id),
  campaign_id INTEGER NOT NULL REFERENCES campaign(id),
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  renderer INTEGER NOT NULL,
  hash BLOB NOT NULL,
  compiled BLOB NOT NULL,
  uses BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX version_campaign ON version (campaign_id, id);

CREATE TABLE exclusion (
  campaign_id INTEGER NOT NULL,
  contact_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (campaign_id, contact_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL,
  campaign_id INTEGER,
  message_id INTEGER,
  contact_id INTEGER,
  version_id INTEGER,
  mailbox TEXT NOT NULL,
  mailbox_norm TEXT NOT NULL,
  domain TEXT NOT NULL,
  digest BLOB NOT NULL,
  stream TEXT NOT NULL,
  vars BLOB,
  tracking TEXT NOT NULL,
  first_try_at INTEGER,
  dkim_key_id INTEGER,
  link_key INTEGER,
  outcome TEXT,
  reason TEXT,
  outcome_at INTEGER,
  attempts INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  last_result TEXT,
  last_at INTEGER,
  last_text TEXT
) STRICT;
CREATE UNIQUE INDEX delivery_once_per_contact ON delivery (campaign_id, contact_id) WHERE campaign_id IS NOT NULL;
CREATE UNIQUE INDEX delivery_once_per_mailbox ON delivery (campaign_id, mailbox_norm) WHERE campaign_id IS NOT NULL;
CREATE INDEX delivery_report ON delivery (workspace_id, campaign_id, outcome, id);
CREATE INDEX delivery_contact ON delivery (contact_id);
CREATE INDEX delivery_message ON delivery (message_id) WHERE message_id IS NOT NULL;
-- Erasure finds single messages to a mailbox; campaign deliveries are found by contact.
CREATE INDEX delivery_message_mailbox ON delivery (workspace_id, mailbox_norm) WHERE campaign_id IS NULL;

CREATE TABLE lane (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL,
  campaign_id INTEGER,
  stream TEXT NOT NULL,
  site TEXT NOT NULL,
  part INTEGER NOT NULL,
  owner INTEGER,
  epoch INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  closed INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX lane_place ON lane (coalesce(campaign_id, 0), workspace_id, stream, site, part);
CREATE INDEX lane_owner ON lane (owner);

-- A row lives here only while its delivery is unsettled. The mark sets doubt_epoch, doubt_at, first_try_at,
-- dkim_key_id and link_key, none of which is indexed, so that the mark rewrites one row and no index.
CREATE TABLE queue (
  delivery_id INTEGER NOT NULL PRIMARY KEY,
  lane_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  ready_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  first_try_at INTEGER,
  dkim_key_id INTEGER,
  link_key INTEGER,
  doubt_epoch INTEGER,
  doubt_at INTEGER,
  held_reason TEXT,
  expires_at INTEGER
);
CREATE INDEX queue_ready ON queue (lane_id, ready_at, delivery_id);

CREATE TABLE node (
  id INTEGER NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  epoch INTEGER NOT NULL,
  beat INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  stopped_at INTEGER
) STRICT;

CREATE TABLE mail_domain (
  name TEXT NOT NULL PRIMARY KEY,
  site TEXT,
  state TEXT NOT NULL,
  resolved_at INTEGER NOT NULL,
  look_again_at INTEGER NOT NULL,
  nxdomain_since INTEGER
) STRICT;

CREATE TABLE attempt (
  id INTEGER NOT NULL PRIMARY KEY,
  delivery_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  campaign_id INTEGER,
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  stage TEXT NOT NULL,
  result TEXT NOT NULL,
  code INTEGER,
  enhanced TEXT,
  text TEXT NOT NULL,
  class TEXT,
  host TEXT NOT NULL,
  ip TEXT NOT NULL,
  source TEXT NOT NULL,
  tls TEXT NOT NULL,
  node INTEGER NOT NULL,
  doubt TEXT
) STRICT;
CREATE INDEX attempt_delivery ON attempt (delivery_id);
CREATE INDEX attempt_campaign ON attempt (workspace_id, campaign_id, id);

CREATE TABLE event (
  node INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  delivery_id INTEGER,
  contact_id INTEGER,
  campaign_id INTEGER,
  attempt_id INTEGER,
  data BLOB,
  PRIMARY KEY (node, seq)
) STRICT, WITHOUT ROWID;

-- The last number given to an event of a node; its row lock is what keeps events of a node in order.
CREATE TABLE event_head (
  node INTEGER NOT NULL PRIMARY KEY,
  seq INTEGER NOT NULL
) STRICT;

-- campaign_id 0: of the workspace as a whole. Readers sum over nodes.
CREATE TABLE counter (
  campaign_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  node INTEGER NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (campaign_id, workspace_id, name, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  stream TEXT NOT NULL,
  from_mailbox TEXT NOT NULL,
  subject TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  api_key INTEGER,
  test_of INTEGER
) STRICT;
CREATE INDEX message_workspace ON message (workspace_id, id);

CREATE TABLE body (
  message_id INTEGER NOT NULL PRIMARY KEY REFERENCES message(id),
  bytes BLOB NOT NULL
) STRICT;

CREATE TABLE domain (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  return_path_host TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  checked BLOB,
  UNIQUE (workspace_id, name)
) STRICT;

CREATE TABLE dkim_key (
  id INTEGER NOT NULL PRIMARY KEY,
  domain_id INTEGER NOT NULL REFERENCES domain(id),
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  selector TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  sealed BLOB NOT NULL,
  public_txt TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  retired_at INTEGER,
  UNIQUE (domain_id, selector)
) STRICT;

CREATE TABLE link_key (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  key_id INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  retired_at INTEGER,
  UNIQUE (workspace_id, key_id)
) STRICT;

CREATE TABLE import (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  state TEXT NOT NULL,
  file_path TEXT NOT NULL,
  file_name TEXT NOT NULL,
  size INTEGER NOT NULL,
  mapping BLOB NOT NULL,
  consent BLOB NOT NULL,
  counts BLOB NOT NULL,
  byte_offset INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  detected BLOB,
  error TEXT,
  created_by TEXT,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  node INTEGER
) STRICT;
CREATE INDEX import_workspace ON import (workspace_id, id);

CREATE TABLE import_refused (
  import_id INTEGER NOT NULL REFERENCES import(id),
  row INTEGER NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  raw TEXT NOT NULL,
  PRIMARY KEY (import_id, row)
) STRICT;

CREATE TABLE idempotency (
  workspace_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  request_hash BLOB NOT NULL,
  status INTEGER,
  body BLOB,
  at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, key)
) STRICT;
CREATE INDEX idempotency_at ON idempotency (at);

CREATE TABLE inquiry (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER,
  kind TEXT NOT NULL,
  args BLOB NOT NULL,
  deadline INTEGER NOT NULL,
  asked_at INTEGER NOT NULL,
  taken_by INTEGER,
  answer BLOB,
  answered_at INTEGER
) STRICT;
CREATE INDEX inquiry_open ON inquiry (deadline) WHERE answered_at IS NULL;
CREATE INDEX lane_campaign ON lane (campaign_id);

-- SQLite plans without figures as if every table were small and every index equally good. These are the figures of a
-- large installation (a million contacts, five campaigns), so that plans are the same on the first day and later.
ANALYZE;
DELETE FROM sqlite_stat1;
INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('contact', 'sqlite_autoindex_contact_1', '1000000 500000 1'),
  ('contact', 'contact_page', '1000000 500000 1'),
  ('membership', 'membership', '2000000 50000 1'),
  ('membership', 'membership_contact', '2000000 2 1'),
  ('consent', 'consent', '2000000 2 1'),
  ('ledger', 'sqlite_autoindex_ledger_1', '2000000 1000000 1'),
  ('ledger', 'ledger_contact', '2000000 2 1'),
  ('suppression', 'sqlite_autoindex_suppression_1', '100000 50000 1 1'),
  ('suppression', 'suppression_page', '100000 50000 1'),
  ('suppression', 'suppression_domain', '100 50 1'),
  ('campaign', 'campaign_workspace', '1000 300 1'),
  ('campaign', 'campaign_state', '1000 200 2'),
  ('exclusion', 'exclusion', '500000 50000 1'),
  ('delivery', 'delivery_once_per_contact', '5000000 1000000 1'),
  ('delivery', 'delivery_once_per_mailbox', '5000000 1000000 1'),
  ('delivery', 'delivery_report', '5000000 2500000 1000000 300000 1'),
  ('delivery', 'delivery_contact', '5000000 5'),
  ('delivery', 'delivery_message', '100000 1'),
  ('lane', 'lane_place', '1000 20 20 20 2 1'),
  ('lane', 'lane_owner', '1000 300'),
  ('lane', 'lane_campaign', '1000 20'),
  ('queue', 'queue_ready', '1000000 10000 100 1'),
  ('attempt', 'attempt_delivery', '5000000 2'),
  ('attempt', 'attempt_campaign', '5000000 2500000 1000000 1'),
  ('event', 'event', '5000000 2500000 1'),
  ('counter', 'counter', '20000 20 20 2 1'),
  ('message', 'message_workspace', '100000 50000 1'),
  ('body', NULL, '100000'),
  ('mail_domain', 'sqlite_autoindex_mail_domain_1', '100000 1'),
  ('audit', 'audit_workspace', '100000 50000 1'),
  ('import_refused', 'sqlite_autoindex_import_refused_1', '100000 10000 1'),
  ('idempotency', 'sqlite_autoindex_idempotency_1', '100000 30000 1'),
  ('idempotency', 'idempotency_at', '100000 2');
