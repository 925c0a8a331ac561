-- Alarms: what needs a person, raised once and resolved once, whichever node saw it; the circuit breakers of sites; the
-- bounce rules of workspaces; and which rule said what an attempt means.

-- workspace_id NULL: of the installation as a whole. facts: what was seen, as a JSON object. level grows when it gets worse.
-- paused_at: when it paused its campaign last. told_at, told_end_at: when a mail told of it and of its end.
CREATE TABLE alarm (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  severity TEXT NOT NULL,
  level INTEGER NOT NULL,
  facts BLOB NOT NULL,
  raised_at INTEGER NOT NULL,
  last_seen_at INTEGER NOT NULL,
  acknowledged_at INTEGER,
  acknowledged_by TEXT,
  resolved_at INTEGER,
  paused_at INTEGER,
  told_at INTEGER,
  told_end_at INTEGER
) STRICT;
CREATE UNIQUE INDEX alarm_open ON alarm (coalesce(workspace_id, 0), kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX alarm_page ON alarm (workspace_id, id);
CREATE INDEX alarm_told ON alarm (id) WHERE told_at IS NOT NULL AND told_end_at IS NULL;

CREATE TABLE alarm_settings (
  workspace_id INTEGER NOT NULL PRIMARY KEY REFERENCES workspace(id),
  settings BLOB NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- A site whose answers about recipients are not believed. Kept, so that a restart and the other nodes know. suspects: the
-- deliveries whose mailboxes were suppressed shortly before.
CREATE TABLE site_breaker (
  site TEXT NOT NULL PRIMARY KEY,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  unknown INTEGER NOT NULL,
  answers INTEGER NOT NULL,
  reply TEXT NOT NULL,
  suspects BLOB NOT NULL,
  believed_at INTEGER
) STRICT;

CREATE TABLE bounce_rules (
  workspace_id INTEGER NOT NULL PRIMARY KEY REFERENCES workspace(id),
  text TEXT NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- The rule that said what the reply means, and the version of the rules (BC-7).
ALTER TABLE attempt ADD COLUMN rule TEXT;
ALTER TABLE attempt ADD COLUMN rules TEXT;

-- What the node's own clock said at its last sign of life.
ALTER TABLE node ADD COLUMN clock_at INTEGER;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('alarm', 'alarm_open', '50 10 5 1'),
  ('alarm', 'alarm_page', '5000 1000 1'),
  ('alarm', 'alarm_told', '50 1');
