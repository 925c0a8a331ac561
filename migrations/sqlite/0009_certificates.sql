-- Certificates of our own, reports about TLS, TLS wishes of single messages, and the life of DKIM keys.

-- A place is `acme NAMES`, which all nodes share, or `files NODE`, whose key is never stored.
CREATE TABLE certificate (
  place TEXT NOT NULL PRIMARY KEY,
  names TEXT NOT NULL,
  chain TEXT,
  sealed BLOB,
  not_before INTEGER,
  not_after INTEGER,
  version INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  last_error TEXT,
  failed_at INTEGER,
  next_try_at INTEGER,
  claimed_by INTEGER,
  claimed_until INTEGER NOT NULL
) STRICT;

CREATE TABLE acme_account (
  directory TEXT NOT NULL PRIMARY KEY,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- Answers to http-01 challenges (RFC 8555 8.3): any node may be asked.
CREATE TABLE acme_challenge (
  token TEXT NOT NULL PRIMARY KEY,
  answer TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

-- Reports of RFC 8460 that we owe: one row for a policy domain and day with an empty place, until DNS has said where
-- reports go; then one row for each of those places.
CREATE TABLE tls_report (
  day INTEGER NOT NULL,
  domain TEXT NOT NULL,
  place TEXT NOT NULL,
  state TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  claimed_until INTEGER NOT NULL,
  detail TEXT NOT NULL,
  done_at INTEGER,
  PRIMARY KEY (day, domain, place)
) STRICT;
CREATE INDEX tls_report_due ON tls_report (state, due_at);

-- `require` (RFC 8689 REQUIRETLS), `optional` (TLS-Required: No) or nothing.
ALTER TABLE delivery ADD COLUMN tls_wish TEXT;

-- A key signs from activated_at until retired_at; its record was last seen in DNS at seen_at.
ALTER TABLE dkim_key ADD COLUMN activated_at INTEGER;
ALTER TABLE dkim_key ADD COLUMN seen_at INTEGER;
ALTER TABLE dkim_key ADD COLUMN revoked_at INTEGER;
UPDATE dkim_key SET activated_at = created_at;
