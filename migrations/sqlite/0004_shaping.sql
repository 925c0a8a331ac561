-- Traffic shaping: limits that workspaces set for sites, stops that a restart must not forget, what each node sees.

-- What a workspace sets for a site instead of its profile.
CREATE TABLE site_settings (
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  site TEXT NOT NULL,
  settings BLOB NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, site)
) STRICT, WITHOUT ROWID;

-- A stop by a rule for a reply; it concerns the addresses of one node.
CREATE TABLE site_stop (
  node INTEGER NOT NULL,
  source TEXT NOT NULL,
  site TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  rule TEXT NOT NULL,
  reply TEXT NOT NULL,
  recovers INTEGER NOT NULL,
  PRIMARY KEY (node, source, site)
) STRICT, WITHOUT ROWID;

-- What a node sees of its sites now; written anew about each second while it has any.
CREATE TABLE site_view (
  node INTEGER NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  sites BLOB NOT NULL
) STRICT;
