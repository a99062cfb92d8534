//! The tables of the registry, one step for each format.

use crate::file::Migrations;

/// The steps, oldest first. A released step is never edited: a change is a new step.
pub(super) const MIGRATIONS: Migrations = &[
    "
    CREATE TABLE device (
        id           TEXT    NOT NULL PRIMARY KEY,
        name         TEXT    NOT NULL,
        auth_mode    TEXT    NOT NULL CHECK (auth_mode IN ('mtls', 'server-tls')),
        enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        created_at   INTEGER NOT NULL,
        last_seen_at INTEGER,
        last_address TEXT
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE credential (
        number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        device     TEXT    NOT NULL REFERENCES device (id) ON DELETE CASCADE,
        kind       TEXT    NOT NULL CHECK (kind IN ('api-key', 'mqtt-password')),
        salt       BLOB    NOT NULL,
        hash       BLOB    NOT NULL,
        lookup     BLOB,
        created_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT;
    CREATE INDEX credential_of_device ON credential (device);
    CREATE INDEX credential_by_lookup ON credential (lookup) WHERE lookup IS NOT NULL;

    -- Without a reference to device: certificates outlive it, so that a removed device's
    -- certificate stays known as revoked.
    CREATE TABLE certificate (
        number            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        serial            TEXT    NOT NULL UNIQUE,
        device            TEXT    NOT NULL,
        not_before        INTEGER NOT NULL,
        not_after         INTEGER NOT NULL,
        fingerprint       TEXT    NOT NULL,
        issued_at         INTEGER NOT NULL,
        retired_at        INTEGER,
        revoked_at        INTEGER,
        revocation_reason TEXT
    ) STRICT;
    CREATE INDEX certificate_of_device ON certificate (device, number);

    CREATE TABLE user (
        number      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        email       TEXT    NOT NULL COLLATE NOCASE UNIQUE,
        name        TEXT    NOT NULL,
        role        TEXT    NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
        salt        BLOB    NOT NULL,
        hash        BLOB    NOT NULL,
        memory      INTEGER NOT NULL,
        passes      INTEGER NOT NULL,
        lanes       INTEGER NOT NULL,
        created_at  INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE session (
        hash       BLOB    NOT NULL PRIMARY KEY,
        user       INTEGER NOT NULL REFERENCES user (number) ON DELETE CASCADE,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_of_user ON session (user);
    CREATE INDEX session_by_expiry ON session (expires_at);

    CREATE TABLE operator_token (
        number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name       TEXT    NOT NULL,
        role       TEXT    NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
        hash       BLOB    NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        revoked_at INTEGER
    ) STRICT;

    CREATE TABLE audit (
        number  INTEGER NOT NULL PRIMARY KEY,
        at      INTEGER NOT NULL,
        actor   TEXT    NOT NULL,
        action  TEXT    NOT NULL,
        subject TEXT    NOT NULL,
        outcome TEXT    NOT NULL,
        detail  TEXT    NOT NULL,
        hash    BLOB    NOT NULL
    ) STRICT;
",
    "
    -- SHA-256 of the public key, in hexadecimal: NULL for certificates recorded before this format.
    ALTER TABLE certificate ADD COLUMN key_fingerprint TEXT;
    -- What the device is sent again when it asks again with the same key: NULL where it was sent with its key.
    ALTER TABLE certificate ADD COLUMN chain TEXT;
    -- Signed for a key of the device's own and never seen in use: the one before it counts as current.
    ALTER TABLE certificate ADD COLUMN pending INTEGER NOT NULL DEFAULT 0 CHECK (pending IN (0, 1));
    CREATE INDEX certificate_by_key ON certificate (key_fingerprint) WHERE key_fingerprint IS NOT NULL;

    CREATE TABLE enrolment_token (
        number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        device     TEXT    NOT NULL REFERENCES device (id) ON DELETE CASCADE,
        hash       BLOB    NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        revoked_at INTEGER,
        used_at    INTEGER,
        -- The key it was used with.
        used_key   TEXT
    ) STRICT;
    CREATE INDEX enrolment_token_of_device ON enrolment_token (device);
",
    "
    CREATE TABLE command (
        number      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        id          TEXT    NOT NULL UNIQUE,
        device      TEXT    NOT NULL REFERENCES device (id) ON DELETE CASCADE,
        kind        TEXT    NOT NULL CHECK (kind IN ('command', 'configuration')),
        name        TEXT    NOT NULL,
        arguments   TEXT    NOT NULL,
        state       TEXT    NOT NULL CHECK (state IN ('queued', 'received', 'done', 'failed', 'expired', 'unknown')),
        actor       TEXT    NOT NULL,
        created_at  INTEGER NOT NULL,
        expires_at  INTEGER,
        sent_at     INTEGER,
        answered_at INTEGER,
        error       TEXT,
        result      TEXT
    ) STRICT;
    CREATE INDEX command_of_device ON command (device, number);
    CREATE INDEX command_queued ON command (device) WHERE state = 'queued';
",
    "
    -- Whether the device is online, since when, and how it left when it is not.
    ALTER TABLE device ADD COLUMN online INTEGER NOT NULL DEFAULT 0 CHECK (online IN (0, 1));
    ALTER TABLE device ADD COLUMN presence_at INTEGER;
    ALTER TABLE device ADD COLUMN offline_cause TEXT;

    CREATE TABLE mqtt_token (
        number       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        name         TEXT    NOT NULL,
        organization TEXT    NOT NULL,
        topics       TEXT    NOT NULL,
        hash         BLOB    NOT NULL UNIQUE,
        created_at   INTEGER NOT NULL,
        revoked_at   INTEGER
    ) STRICT;
",
];
