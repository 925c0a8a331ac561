-- Grows with each change of mailbox, attributes, language or zone, so that nobody overwrites what somebody else wrote.
ALTER TABLE contact ADD COLUMN rev INTEGER NOT NULL DEFAULT 1;

-- Pictures for messages: what was uploaded is made small and kept once; anyone who holds the address may see it.

-- wanted_width: the width in CSS pixels that the plain size was made for; the same file for another width is another picture.
CREATE TABLE picture (
  id INTEGER NOT NULL PRIMARY KEY,
  workspace_id INTEGER NOT NULL REFERENCES workspace(id),
  digest BLOB NOT NULL,
  wanted_width INTEGER NOT NULL,
  token TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  alt TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (workspace_id, digest, wanted_width)
) STRICT;
CREATE INDEX picture_workspace ON picture (workspace_id, id);

-- scale: 1 or 2 device pixels to a CSS pixel.
CREATE TABLE picture_size (
  picture_id INTEGER NOT NULL REFERENCES picture(id),
  scale INTEGER NOT NULL,
  media_type TEXT NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  size INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (picture_id, scale)
) STRICT;

INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
  ('picture', 'picture_workspace', '1000 300 1'),
  ('picture', 'sqlite_autoindex_picture_1', '1000 1'),
  ('picture', 'sqlite_autoindex_picture_2', '1000 300 1 1'),
  ('picture_size', 'sqlite_autoindex_picture_size_1', '2000 2 1');
