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
];
