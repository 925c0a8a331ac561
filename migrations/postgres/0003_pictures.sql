-- Grows with each change of mailbox, attributes, language or zone, so that nobody overwrites what somebody else wrote.
ALTER TABLE contact ADD COLUMN rev BIGINT NOT NULL DEFAULT 1;

-- Pictures for messages: what was uploaded is made small and kept once; anyone who holds the address may see it.

-- wanted_width: the width in CSS pixels that the plain size was made for; the same file for another width is another picture.
CREATE TABLE picture (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL REFERENCES workspace(id),
  digest BYTEA NOT NULL,
  wanted_width BIGINT NOT NULL,
  token TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  alt TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (workspace_id, digest, wanted_width)
);
CREATE INDEX picture_workspace ON picture (workspace_id, id);

-- scale: 1 or 2 device pixels to a CSS pixel.
CREATE TABLE picture_size (
  picture_id BIGINT NOT NULL REFERENCES picture(id),
  scale BIGINT NOT NULL,
  media_type TEXT NOT NULL,
  width BIGINT NOT NULL,
  height BIGINT NOT NULL,
  size BIGINT NOT NULL,
  bytes BYTEA NOT NULL,
  PRIMARY KEY (picture_id, scale)
);
