-- Soft bounces counted per mailbox, what workspaces want of them, and why a mailbox was suppressed.

-- Made by a soft bounce; gone with a success, and when a limit is reached. delivery_id: the last one. trail: the first fifty, as
-- [delivery,campaign,class,time] with commas between.
CREATE TABLE soft_bounce (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  digest BYTEA NOT NULL,
  delivery_id BIGINT NOT NULL,
  bounces BIGINT NOT NULL,
  campaigns BIGINT NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  trail TEXT NOT NULL,
  UNIQUE (workspace_id, digest)
);
CREATE INDEX soft_bounce_last ON soft_bounce (last_at);

CREATE TABLE bounce_settings (
  workspace_id BIGINT NOT NULL PRIMARY KEY REFERENCES workspace(id),
  settings JSONB NOT NULL,
  updated_at BIGINT NOT NULL
);

-- What a bounce limit was reached by, as a JSON object.
ALTER TABLE suppression ADD COLUMN evidence JSONB;
CREATE INDEX suppression_until ON suppression (until) WHERE until IS NOT NULL;
