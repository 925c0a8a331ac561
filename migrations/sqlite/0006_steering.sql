-- Steering of queues: rules that people set, and where they left their mark on rows.

-- A rule stands until it ends, or until its work is done. workspace_id NULL: for the whole installation.
CREATE TABLE queue_rule (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER REFERENCES workspace(id),
  action TEXT NOT NULL,
  scope BLOB NOT NULL,
  -- Messages in 1,000 seconds.
  pace INTEGER,
  connections INTEGER,
  route_id INTEGER,
  -- What a bounce says in reports.
  text TEXT NOT NULL,
  reason TEXT NOT NULL,
  actor_kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  by_name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  -- The last delivery that a cancel, a bounce or a release concerns.
  last_delivery INTEGER,
  -- How many deliveries it concerned when it was made, and how many it has dealt with.
  expected INTEGER NOT NULL,
  done INTEGER NOT NULL,
  -- Every row that was there was looked at once.
  swept_at INTEGER,
  ended_at INTEGER,
  end_reason TEXT,
  -- Nothing is left to be undone or done.
  settled_at INTEGER
) STRICT;
CREATE INDEX queue_rule_workspace ON queue_rule (workspace_id, id);
CREATE INDEX queue_rule_open ON queue_rule (id) WHERE settled_at IS NULL;

-- Grows with each change of the rules: a mark is refused when its delivery was judged by older ones.
CREATE TABLE queue_rule_head (
  id INTEGER NOT NULL PRIMARY KEY,
  gen INTEGER NOT NULL
) STRICT;
INSERT INTO queue_rule_head (id, gen) VALUES (1, 0);

-- The rule that held a row, and since when it is held. Held rows are ready at the end of time, so that nobody who reads
-- a lane passes over them.
ALTER TABLE queue ADD COLUMN held_by INTEGER;
ALTER TABLE queue ADD COLUMN held_at INTEGER;
UPDATE queue SET held_at = ready_at, ready_at = 253402300799999 WHERE held_reason IS NOT NULL;

-- Another route than that of the campaign or the workspace.
ALTER TABLE lane ADD COLUMN route_id INTEGER;
DROP INDEX lane_place;
CREATE UNIQUE INDEX lane_place ON lane (coalesce(campaign_id, 0), workspace_id, stream, site, part, coalesce(route_id, 0));

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('lane', 'lane_place', '1000 20 20 20 2 1 1'),
  ('queue_rule', 'queue_rule_workspace', '1000 100 1'),
  ('queue_rule', 'queue_rule_open', '10 1');
