-- What the pages need to be quick and to lose nothing: templates, kept texts of drafts, saved views of contacts, and
-- counters by the minute for curves.

-- Templates of one group are the same text in several languages; the group has the number of its first template.
CREATE TABLE template (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  group_id INTEGER NOT NULL,
  language TEXT NOT NULL,
  name TEXT NOT NULL,
  draft BLOB NOT NULL,
  rev INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (workspace_id, group_id, language)
) STRICT;
CREATE INDEX template_workspace ON template (workspace_id, id);

-- Texts of a draft as they were saved, thinned; the newest is the present one.
CREATE TABLE draft_revision (
  variant_id INTEGER NOT NULL REFERENCES variant(id),
  rev INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  draft BLOB NOT NULL,
  size INTEGER NOT NULL,
  saved_at INTEGER NOT NULL,
  saved_by TEXT NOT NULL,
  PRIMARY KEY (variant_id, rev)
) STRICT;
INSERT INTO draft_revision (variant_id, rev, workspace_id, draft, size, saved_at, saved_by)
SELECT id, rev, workspace_id, draft, length(draft), updated_at, '' FROM variant;

CREATE TABLE saved_view (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  query BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (workspace_id, name)
) STRICT;

-- What happened to deliveries, by the minute: written with the counters, read for curves and for the last days.
-- campaign_id 0: single messages.
CREATE TABLE minute_counter (
  campaign_id INTEGER NOT NULL,
  workspace_id INTEGER NOT NULL,
  minute INTEGER NOT NULL,
  name TEXT NOT NULL,
  node INTEGER NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, campaign_id, minute, name, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX minute_counter_time ON minute_counter (workspace_id, minute);

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('template', 'template_workspace', '1000 300 1'),
  ('template', 'sqlite_autoindex_template_1', '1000 300 2 1'),
  ('draft_revision', 'sqlite_autoindex_draft_revision_1', '50000 50 1'),
  ('saved_view', 'sqlite_autoindex_saved_view_1', '1000 30 1'),
  ('minute_counter', 'minute_counter', '500000 200000 2000 4 1 1'),
  ('minute_counter', 'minute_counter_time', '500000 200000 10');
