//! The tables of the telemetry store, one step for each format.

use crate::file::Migrations;

/// The steps, oldest first. A released step is never edited: a change is a new step.
pub(super) const MIGRATIONS: Migrations = &[
    "
    CREATE TABLE tail (
        position INTEGER NOT NULL PRIMARY KEY,
        batch    BLOB    NOT NULL
    ) STRICT;

    CREATE TABLE device (
        number         INTEGER NOT NULL PRIMARY KEY,
        id             TEXT    NOT NULL UNIQUE,
        sealed_through INTEGER NOT NULL,
        snapshot       BLOB    NOT NULL
    ) STRICT;

    CREATE TABLE chunk (
        number     INTEGER NOT NULL PRIMARY KEY,
        device     INTEGER NOT NULL REFERENCES device (number),
        first_time INTEGER NOT NULL,
        last_time  INTEGER NOT NULL,
        samples    INTEGER NOT NULL,
        blob       BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX chunk_by_time ON chunk (device, first_time, last_time);

    CREATE TABLE message (
        number      INTEGER NOT NULL PRIMARY KEY,
        device      TEXT    NOT NULL,
        topic       TEXT    NOT NULL,
        received_at INTEGER NOT NULL,
        payload     BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX message_of_device ON message (device, number);

    CREATE TABLE dead_letter (
        number      INTEGER NOT NULL PRIMARY KEY,
        device      TEXT,
        topic       TEXT    NOT NULL,
        received_at INTEGER NOT NULL,
        payload     BLOB    NOT NULL,
        code        TEXT    NOT NULL,
        reason      TEXT    NOT NULL
    ) STRICT;

    CREATE TABLE quarantine (
        position INTEGER NOT NULL PRIMARY KEY,
        reason   TEXT    NOT NULL,
        batch    BLOB    NOT NULL
    ) STRICT;

    CREATE TABLE total (
        only                 INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
        trimmed_through      INTEGER NOT NULL,
        sealed_samples       INTEGER NOT NULL,
        sealed_values        INTEGER NOT NULL,
        chunks               INTEGER NOT NULL,
        chunk_bytes          INTEGER NOT NULL,
        dead_letters_dropped INTEGER NOT NULL
    ) STRICT;
    INSERT INTO total VALUES (1, 0, 0, 0, 0, 0, 0);
",
    "
    -- What stands beside the blobs has a checksum of its own; rows of format 1 have none.
    ALTER TABLE device  ADD COLUMN checksum INTEGER;
    ALTER TABLE chunk   ADD COLUMN checksum INTEGER;
    ALTER TABLE message ADD COLUMN checksum INTEGER;

    -- A dead letter can be replayed and is gone then: its number must not come back.
    CREATE TABLE numbered_dead_letter (
        number      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        device      TEXT,
        topic       TEXT    NOT NULL,
        received_at INTEGER NOT NULL,
        payload     BLOB    NOT NULL,
        code        TEXT    NOT NULL,
        reason      TEXT    NOT NULL,
        checksum    INTEGER
    ) STRICT;
    INSERT INTO numbered_dead_letter SELECT *, NULL FROM dead_letter;
    DROP TABLE dead_letter;
    ALTER TABLE numbered_dead_letter RENAME TO dead_letter;
",
    "
    -- Points before this day are dropped from the chunks of the device, or about to be.
    ALTER TABLE device ADD COLUMN raw_from INTEGER NOT NULL DEFAULT -106752;

    CREATE TABLE rollup (
        number     INTEGER NOT NULL PRIMARY KEY,
        device     INTEGER NOT NULL REFERENCES device (number),
        resolution INTEGER NOT NULL,
        first_day  INTEGER NOT NULL,
        page       BLOB    NOT NULL,
        checksum   INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX rollup_by_day ON rollup (device, resolution, first_day);

    CREATE TABLE rollup_due (
        device INTEGER NOT NULL REFERENCES device (number),
        day    INTEGER NOT NULL,
        ready  INTEGER NOT NULL,
        PRIMARY KEY (device, day)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX rollup_ready ON rollup_due (device, day) WHERE ready = 1;

    -- Of chunks that are there already: every day that one may have points in.
    WITH RECURSIVE touched (device, day, last) AS (
        SELECT device, first_time / 86400000000000 - (first_time % 86400000000000 < 0),
               last_time / 86400000000000 - (last_time % 86400000000000 < 0) FROM chunk
        UNION
        SELECT device, day + 1, last FROM touched WHERE day < last
    )
    INSERT OR IGNORE INTO rollup_due (device, day, ready) SELECT device, day, 1 FROM touched;

    CREATE TABLE compact_due (
        device INTEGER NOT NULL REFERENCES device (number),
        time   INTEGER NOT NULL,
        PRIMARY KEY (device, time)
    ) STRICT, WITHOUT ROWID;

    ALTER TABLE total ADD COLUMN chunks_dropped   INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE total ADD COLUMN samples_dropped  INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE total ADD COLUMN rollups_dropped  INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE total ADD COLUMN messages_dropped INTEGER NOT NULL DEFAULT 0;
",
    "
    -- The few chunks of more than an hour: the others over a moment begin within the hour before it.
    CREATE INDEX chunk_long ON chunk (device, first_time, last_time)
        WHERE last_time - first_time > 3600000000000;
",
    "
    -- The tables stay the same. Chunks of version 3 and pages of version 2 are new: who cannot read them must not try.
",
];
