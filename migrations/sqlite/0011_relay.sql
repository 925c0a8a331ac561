-- The relay: what applications log in with, what their messages carried, and what was refused.

CREATE TABLE credential (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  kind TEXT NOT NULL,
  settings TEXT NOT NULL,
  username TEXT UNIQUE,
  hash BLOB,
  rev INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  created_by TEXT,
  revoked_at INTEGER,
  first_message_at INTEGER,
  last_used_at INTEGER
) STRICT;
CREATE INDEX credential_workspace ON credential (workspace_id, id);

-- What a message of the relay carried beside its bytes. A message by HTTP has a row only when it says more than that.
CREATE TABLE relay_message (
  message_id INTEGER NOT NULL PRIMARY KEY REFERENCES message(id),
  workspace_id INTEGER NOT NULL,
  credential_id INTEGER,
  client TEXT NOT NULL,
  size INTEGER NOT NULL,
  reverse_path TEXT,
  header_id TEXT,
  envid TEXT,
  ret TEXT,
  delivery_type INTEGER NOT NULL,
  external_id TEXT,
  external_desc TEXT,
  metadata TEXT,
  tags TEXT
) STRICT;
CREATE INDEX relay_message_credential ON relay_message (workspace_id, credential_id, message_id);
CREATE INDEX relay_message_type ON relay_message (workspace_id, delivery_type, message_id);

-- What RCPT said of a recipient (RFC 3461).
CREATE TABLE relay_recipient (
  delivery_id INTEGER NOT NULL PRIMARY KEY,
  message_id INTEGER NOT NULL,
  notify TEXT,
  orcpt TEXT
) STRICT;
CREATE INDEX relay_recipient_message ON relay_recipient (message_id);

-- Kinds of messages, for statistics; the first label stays.
CREATE TABLE delivery_type (
  workspace_id INTEGER NOT NULL,
  number INTEGER NOT NULL,
  label TEXT,
  stream TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, number)
) STRICT, WITHOUT ROWID;

-- What was refused or ignored; the same thing again within an hour only counts.
CREATE TABLE relay_note (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER,
  credential_id INTEGER,
  reason TEXT NOT NULL,
  client TEXT NOT NULL,
  detail TEXT NOT NULL,
  reply TEXT NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  count INTEGER NOT NULL
) STRICT;
CREATE INDEX relay_note_workspace ON relay_note (workspace_id, last_at, id);
CREATE INDEX relay_note_last ON relay_note (last_at);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('credential', 'credential_workspace', '100 20 1'),
  ('relay_message', 'relay_message_credential', '1000000 500000 50000 1'),
  ('relay_message', 'relay_message_type', '1000000 500000 50000 1'),
  ('relay_recipient', 'relay_recipient_message', '100000 1'),
  ('relay_note', 'relay_note_workspace', '10000 5000 2 1'),
  ('relay_note', 'relay_note_last', '10000 2');
