-- Egress: sources and pools of the installation, how warm each source is at each site, several hosts of a smarthost, the
-- proof that a relay signs, and weights.

CREATE TABLE egress_source (
  id INTEGER NOT NULL PRIMARY KEY,
  settings BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE egress_pool (
  id INTEGER NOT NULL PRIMARY KEY,
  settings BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

-- Where a source stands in its warm-up at a site. `carried` is what was granted on the day `day` (days since 1970-01-01 UTC).
CREATE TABLE warm_up (
  source_id INTEGER NOT NULL REFERENCES egress_source(id),
  site TEXT NOT NULL,
  step INTEGER NOT NULL,
  day INTEGER NOT NULL,
  carried INTEGER NOT NULL,
  paused_until INTEGER,
  pauses INTEGER NOT NULL,
  reason TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (source_id, site)
) STRICT, WITHOUT ROWID;

-- What a node found wrong with a source: an address that it does not have.
CREATE TABLE egress_trouble (
  node INTEGER NOT NULL,
  source_id INTEGER NOT NULL,
  problem TEXT NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY (node, source_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE route_host_secret (
  route_id INTEGER NOT NULL REFERENCES route(id),
  host TEXT NOT NULL,
  sealed_password BLOB NOT NULL,
  PRIMARY KEY (route_id, host)
) STRICT, WITHOUT ROWID;

-- A message that came back through a relay with a signature of its own that passes.
CREATE TABLE relay_proof (
  route_id INTEGER NOT NULL REFERENCES route(id),
  domain TEXT NOT NULL,
  signed_by TEXT NOT NULL,
  selector TEXT NOT NULL,
  relay TEXT NOT NULL,
  proved_at INTEGER NOT NULL,
  PRIMARY KEY (route_id, domain)
) STRICT, WITHOUT ROWID;

ALTER TABLE workspace ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
ALTER TABLE campaign ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
