//! An embeddable MQTT broker with four seams: authenticate, authorize, accept a publish, presence.
