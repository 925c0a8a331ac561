-- The relay: what applications log in with, what their messages carried, and what was refused.

CREATE TABLE credential (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  kind TEXT NOT NULL,
  settings TEXT NOT NULL,
  username TEXT UNIQUE,
  hash BYTEA,
  rev BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT,
  revoked_at BIGINT,
  first_message_at BIGINT,
  last_used_at BIGINT
);
CREATE INDEX credential_workspace ON credential (workspace_id, id);

-- What a message of the relay carried beside its bytes. A message by HTTP has a row only when it says more than that.
CREATE TABLE relay_message (
  message_id BIGINT NOT NULL PRIMARY KEY REFERENCES message(id),
  workspace_id BIGINT NOT NULL,
  credential_id BIGINT,
  client TEXT NOT NULL,
  size BIGINT NOT NULL,
  reverse_path TEXT,
  header_id TEXT,
  envid TEXT,
  ret TEXT,
  delivery_type BIGINT NOT NULL,
  external_id TEXT,
  external_desc TEXT,
  metadata TEXT,
  tags TEXT
);
CREATE INDEX relay_message_credential ON relay_message (workspace_id, credential_id, message_id);
CREATE INDEX relay_message_type ON relay_message (workspace_id, delivery_type, message_id);

-- What RCPT said of a recipient (RFC 3461).
CREATE TABLE relay_recipient (
  delivery_id BIGINT NOT NULL PRIMARY KEY,
  message_id BIGINT NOT NULL,
  notify TEXT,
  orcpt TEXT
);
CREATE INDEX relay_recipient_message ON relay_recipient (message_id);

-- Kinds of messages, for statistics; the first label stays.
CREATE TABLE delivery_type (
  workspace_id BIGINT NOT NULL,
  number BIGINT NOT NULL,
  label TEXT,
  stream TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, number)
);

-- What was refused or ignored; the same thing again within an hour only counts.
CREATE TABLE relay_note (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT,
  credential_id BIGINT,
  reason TEXT NOT NULL,
  client TEXT NOT NULL,
  detail TEXT NOT NULL,
  reply TEXT NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  count BIGINT NOT NULL
);
CREATE INDEX relay_note_workspace ON relay_note (workspace_id, last_at, id);
CREATE INDEX relay_note_last ON relay_note (last_at);

