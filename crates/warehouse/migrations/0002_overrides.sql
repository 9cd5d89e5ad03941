-- Format 2: figures that planners set against a forecast. Rows are only added: what was said, and that it was taken back.
CREATE TABLE overrides (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    made_ms   INTEGER NOT NULL,
    author    TEXT    NOT NULL,
    note      TEXT    NOT NULL,
    grouping  TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    freq      TEXT    NOT NULL,
    unique_id TEXT    NOT NULL,
    first_ds  INTEGER NOT NULL,
    last_ds   INTEGER NOT NULL,
    value     REAL,
    factor    REAL,
    known_ds  INTEGER NOT NULL,
    CHECK (first_ds <= last_ds),
    CHECK ((value IS NULL) <> (factor IS NULL))
) STRICT;

CREATE TABLE override_withdrawals (
    override_id INTEGER PRIMARY KEY REFERENCES overrides (id),
    made_ms     INTEGER NOT NULL,
    author      TEXT    NOT NULL,
    note        TEXT    NOT NULL
) STRICT;

CREATE TRIGGER overrides_stay BEFORE UPDATE ON overrides
BEGIN SELECT RAISE(ABORT, 'overrides are only added'); END;
CREATE TRIGGER overrides_are_kept BEFORE DELETE ON overrides
BEGIN SELECT RAISE(ABORT, 'overrides are only added'); END;
CREATE TRIGGER withdrawals_stay BEFORE UPDATE ON override_withdrawals
BEGIN SELECT RAISE(ABORT, 'overrides are only added'); END;
CREATE TRIGGER withdrawals_are_kept BEFORE DELETE ON override_withdrawals
BEGIN SELECT RAISE(ABORT, 'overrides are only added'); END;

PRAGMA user_version = 2;
