-- How mail is protected on its way: MTA-STS policies that were fetched, rules of the operator for single domains, and
-- what TLS came to, by policy domain and day (RFC 8460).

CREATE TABLE sts_policy (
  domain TEXT NOT NULL PRIMARY KEY,
  policy_id TEXT NOT NULL,
  mode TEXT NOT NULL,
  mx TEXT NOT NULL,
  max_age INTEGER NOT NULL,
  fetched_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tls_rule (
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  domain TEXT NOT NULL,
  demand TEXT NOT NULL,
  reason TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (workspace_id, domain)
) STRICT;

-- The day counts from 1970-01-01 UTC.
CREATE TABLE tls_result (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  policy TEXT NOT NULL,
  result TEXT NOT NULL,
  mx_host TEXT NOT NULL,
  node_id INTEGER NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (day, domain, policy, result, mx_host, node_id)
) STRICT;
