use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::packet::{Connect, Publish, QoS};

fn connect(version: Version) -> BytesMut {
    let mut bytes = BytesMut::new();
    let connect = Connect { client_id: "sensor-1".into(), clean_start: true, ..Connect::default() };
    Codec::client(version, 0).encode(Packet::Connect(Box::new(connect)), &mut bytes).unwrap();
    bytes
}

#[test]
fn the_server_learns_the_version_from_connect() {
    for version in [Version::V3, Version::V5] {
        let mut bytes = connect(version);
        let mut codec = Codec::server(1024);
        assert!(matches!(codec.decode(&mut bytes), Ok(Some(Packet::Connect(_)))));
        assert_eq!(codec.version(), Some(version));
    }
}

#[test]
fn packets_may_come_byte_by_byte() {
    let whole = connect(Version::V3);
    let mut codec = Codec::server(1024);
    let mut bytes = BytesMut::new();
    for (index, byte) in whole.iter().enumerate() {
        bytes.extend_from_slice(&[*byte]);
        let packet = codec.decode(&mut bytes).unwrap();
        assert_eq!(packet.is_some(), index + 1 == whole.len());
    }
    // A body whose first byte looks like a fixed header with reserved bits is still a body.
    let publish = Publish {
        dup: false,
        retain: false,
        qos: QoS::AtMostOnce,
        topic: "t".into(),
        packet_id: None,
        payload: bytes::Bytes::from_static(&[0x4F; 300]),
        properties: None,
    };
    let mut encoded = BytesMut::new();
    codec.encode(Packet::Publish(Box::new(publish)), &mut encoded).unwrap();
    let tail = encoded.split_off(3);
    assert!(codec.decode(&mut encoded).unwrap().is_none());
    encoded.extend_from_slice(&tail);
    assert!(matches!(codec.decode(&mut encoded), Ok(Some(Packet::Publish(_)))));
}

#[test]
fn a_stranger_is_told_apart_from_a_client() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 2, 0], &[0xC0, 0], &[0x00; 32], &[0xFF; 32]] {
        let mut bytes = BytesMut::from(garbage);
        assert!(Codec::server(1024).decode(&mut bytes).is_err(), "{garbage:?}");
    }
    // 10 MB announced by a stranger: refused from its header alone.
    let mut bytes = BytesMut::from(&[0x10, 0x80, 0xAD, 0xE2, 0x04][..]);
    assert!(matches!(Codec::server(1024).decode(&mut bytes), Err(ProtocolError::TooLarge { size: 10_000_005, .. })));
}

#[test]
fn reserved_bits_and_wildcards_are_refused() {
    let mut codec = Codec::client(Version::V3, 1024);
    assert!(matches!(
        codec.decode(&mut BytesMut::from(&[0x60, 2, 0, 1][..])),
        Err(ProtocolError::ReservedBit("PUBREL"))
    ));
    let mut codec = Codec::client(Version::V3, 1024);
    assert!(matches!(
        codec.decode(&mut BytesMut::from(&[0x30, 5, 0, 3, b'a', b'/', b'#'][..])),
        Err(ProtocolError::InvalidTopicName)
    ));
}

/// MQTT-3.1.2-24: exactly the maximum may be sent, one byte more may not.
#[test]
fn the_maximum_packet_size_counts_the_fixed_header() {
    for size in [100u32, 129, 130, 131, 200, 16_386, 16_387, 16_388, 16_389] {
        let mut codec = Codec::client(Version::V5, 0);
        codec.set_max_outbound(size);
        let largest = (0..size as usize).rev().find_map(|payload| {
            let publish = Publish {
                dup: false,
                retain: false,
                qos: QoS::AtMostOnce,
                topic: "t".into(),
                packet_id: None,
                payload: vec![0; payload].into(),
                properties: None,
            };
            let mut bytes = BytesMut::new();
            codec.encode(Packet::Publish(Box::new(publish)), &mut bytes).ok().map(|()| bytes.len())
        });
        let largest = largest.unwrap() as u32;
        // A packet of 130 bytes does not exist: one byte more of body takes one byte more of length.
        let gap = u32::from(matches!(size, 130 | 16_387));
        assert_eq!(largest, size - gap, "{size}");
    }
}

/// MQTT-1.5.5-1: a length in more bytes than it needs.
#[test]
fn lengths_are_in_their_shortest_form() {
    let long = [0xC0, 0x80, 0x00];
    let mut codec = Codec::client(Version::V5, 0);
    assert!(matches!(codec.decode(&mut BytesMut::from(&long[..])), Err(ProtocolError::Garbled(_))));
    let five = [0xC0, 0x80, 0x80, 0x80, 0x80, 0x01];
    for version in [Version::V3, Version::V5] {
        let mut codec = Codec::client(version, 0);
        assert!(matches!(codec.decode(&mut BytesMut::from(&five[..])), Err(ProtocolError::Garbled(_))));
    }
}

/// The library refuses an expiry of zero, which is legal.
#[test]
fn an_expiry_of_zero_is_a_second() {
    let bytes = [0x30, 9, 0, 1, b't', 5, 2, 0, 0, 0, 0];
    let packet = Codec::client(Version::V5, 0).decode(&mut BytesMut::from(&bytes[..])).unwrap();
    let Some(Packet::Publish(publish)) = packet else { panic!("{packet:?}") };
    let expiry = publish.properties.unwrap().message_expiry_interval;
    assert_eq!(expiry, std::num::NonZeroU32::new(1));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), v5: bool, known: bool) {
        let version = if v5 { Version::V5 } else { Version::V3 };
        let mut codec = if known { Codec::client(version, 256) } else { Codec::server(256) };
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = codec.decode(&mut buffer) {}
    }

    #[test]
    fn mutated_connects_never_panic(position in 0usize..64, byte: u8, v5: bool) {
        let mut buffer = connect(if v5 { Version::V5 } else { Version::V3 });
        let length = buffer.len();
        buffer[position % length] = byte;
        let _ = Codec::server(1024).decode(&mut buffer);
    }
}
