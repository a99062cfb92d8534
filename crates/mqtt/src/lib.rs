//! MQTT 3.1.1 and 5 over any byte stream: framing, session state machines, and a client.
