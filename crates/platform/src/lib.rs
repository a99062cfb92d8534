//! The platform: ingest, identity, API; wires broker, store and certificate authority.
