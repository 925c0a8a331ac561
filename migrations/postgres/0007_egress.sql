-- Egress: sources and pools of the installation, how warm each source is at each site, several hosts of a smarthost, the
-- proof that a relay signs, and weights.

CREATE TABLE egress_source (
  id BIGINT NOT NULL PRIMARY KEY,
  settings JSONB NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);

CREATE TABLE egress_pool (
  id BIGINT NOT NULL PRIMARY KEY,
  settings JSONB NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);

-- Where a source stands in its warm-up at a site. `carried` is what was granted on the day `day` (days since 1970-01-01 UTC).
CREATE TABLE warm_up (
  source_id BIGINT NOT NULL REFERENCES egress_source(id),
  site TEXT NOT NULL,
  step BIGINT NOT NULL,
  day BIGINT NOT NULL,
  carried BIGINT NOT NULL,
  paused_until BIGINT,
  pauses BIGINT NOT NULL,
  reason TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (source_id, site)
);

-- What a node found wrong with a source: an address that it does not have.
CREATE TABLE egress_trouble (
  node BIGINT NOT NULL,
  source_id BIGINT NOT NULL,
  problem TEXT NOT NULL,
  since BIGINT NOT NULL,
  PRIMARY KEY (node, source_id)
);

CREATE TABLE route_host_secret (
  route_id BIGINT NOT NULL REFERENCES route(id),
  host TEXT NOT NULL,
  sealed_password BYTEA NOT NULL,
  PRIMARY KEY (route_id, host)
);

-- A message that came back through a relay with a signature of its own that passes.
CREATE TABLE relay_proof (
  route_id BIGINT NOT NULL REFERENCES route(id),
  domain TEXT NOT NULL,
  signed_by TEXT NOT NULL,
  selector TEXT NOT NULL,
  relay TEXT NOT NULL,
  proved_at BIGINT NOT NULL,
  PRIMARY KEY (route_id, domain)
);

ALTER TABLE workspace ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
ALTER TABLE campaign ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
