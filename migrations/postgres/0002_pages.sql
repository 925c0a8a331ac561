-- What the pages need to be quick and to lose nothing: templates, kept texts of drafts, saved views of contacts, and
-- counters by the minute for curves.

-- Templates of one group are the same text in several languages; the group has the number of its first template.
CREATE TABLE template (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  group_id BIGINT NOT NULL,
  language TEXT NOT NULL,
  name TEXT NOT NULL,
  draft JSONB NOT NULL,
  rev BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (workspace_id, group_id, language)
);
CREATE INDEX template_workspace ON template (workspace_id, id);

-- Texts of a draft as they were saved, thinned; the newest is the present one.
CREATE TABLE draft_revision (
  variant_id BIGINT NOT NULL REFERENCES variant(id),
  rev BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  draft JSONB NOT NULL,
  size BIGINT NOT NULL,
  saved_at BIGINT NOT NULL,
  saved_by TEXT NOT NULL,
  PRIMARY KEY (variant_id, rev)
);
INSERT INTO draft_revision (variant_id, rev, workspace_id, draft, size, saved_at, saved_by)
SELECT id, rev, workspace_id, draft, octet_length(CAST(draft AS TEXT)), updated_at, '' FROM variant;

CREATE TABLE saved_view (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  name TEXT NOT NULL,
  query JSONB NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (workspace_id, name)
);

-- What happened to deliveries, by the minute: written with the counters, read for curves and for the last days.
-- campaign_id 0: single messages.
CREATE TABLE minute_counter (
  campaign_id BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  minute BIGINT NOT NULL,
  name TEXT NOT NULL,
  node BIGINT NOT NULL,
  value BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, campaign_id, minute, name, node)
);
CREATE INDEX minute_counter_time ON minute_counter (workspace_id, minute);
