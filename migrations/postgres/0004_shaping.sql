-- Traffic shaping: limits that workspaces set for sites, stops that a restart must not forget, what each node sees.

-- What a workspace sets for a site instead of its profile.
CREATE TABLE site_settings (
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  site TEXT NOT NULL,
  settings JSONB NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, site)
);

-- A stop by a rule for a reply; it concerns the addresses of one node.
CREATE TABLE site_stop (
  node BIGINT NOT NULL,
  source TEXT NOT NULL,
  site TEXT NOT NULL,
  since BIGINT NOT NULL,
  until BIGINT NOT NULL,
  rule TEXT NOT NULL,
  reply TEXT NOT NULL,
  recovers BOOLEAN NOT NULL,
  PRIMARY KEY (node, source, site)
);

-- What a node sees of its sites now; written anew about each second while it has any.
CREATE TABLE site_view (
  node BIGINT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  sites JSONB NOT NULL
);
