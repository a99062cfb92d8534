//! The registry of devices and the telemetry store, embedded in two SQLite files.
