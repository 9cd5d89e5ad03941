-- Format 1: what was imported, and the Parquet files that hold it. A row of `parts` makes its file visible.
CREATE TABLE imports (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    identity    TEXT    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    preset      TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    finished_ms INTEGER NOT NULL,
    summary     TEXT    NOT NULL
) STRICT;

CREATE TABLE parts (
    path           TEXT    PRIMARY KEY,
    import_id      INTEGER NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    table_name     TEXT    NOT NULL,
    schema_version INTEGER NOT NULL,
    n_rows         INTEGER NOT NULL,
    n_bytes        INTEGER NOT NULL,
    ds_min_ms      INTEGER,
    ds_max_ms      INTEGER,
    blake3         TEXT    NOT NULL
) STRICT;

CREATE INDEX parts_by_import ON parts (import_id);

PRAGMA user_version = 1;
