//! The device side: sensors, session, publish.
