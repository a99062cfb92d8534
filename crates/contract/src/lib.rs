//! The shared words of device and platform: identifiers, topics, payloads, bundles, secrets.
