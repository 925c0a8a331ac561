-- Soft bounces counted per mailbox, what workspaces want of them, and why a mailbox was suppressed.

-- Made by a soft bounce; gone with a success, and when a limit is reached. delivery_id: the last one. trail: the first fifty, as
-- [delivery,campaign,class,time] with commas between.
CREATE TABLE soft_bounce (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL,
  digest BLOB NOT NULL,
  delivery_id INTEGER NOT NULL,
  bounces INTEGER NOT NULL,
  campaigns INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  trail TEXT NOT NULL,
  UNIQUE (workspace_id, digest)
) STRICT;
CREATE INDEX soft_bounce_last ON soft_bounce (last_at);

CREATE TABLE bounce_settings (
  workspace_id INTEGER NOT NULL PRIMARY KEY REFERENCES workspace(id),
  settings BLOB NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- What a bounce limit was reached by, as a JSON object.
ALTER TABLE suppression ADD COLUMN evidence BLOB;
CREATE INDEX suppression_until ON suppression (until) WHERE until IS NOT NULL;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('soft_bounce', 'sqlite_autoindex_soft_bounce_1', '10000 5000 1'),
  ('soft_bounce', 'soft_bounce_last', '10000 1'),
  ('suppression', 'suppression_until', '1000 1');
