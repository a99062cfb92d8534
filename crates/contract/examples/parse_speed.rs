//! How long one payload of the medical profile takes to read and to print.
//!
//! `cargo run --release -p tesaiot-contract --example parse_speed`
#![allow(clippy::print_stdout, reason = "printing the figures is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{Limits, parse};

const ROUNDS: u32 = 100_000;
const PAYLOAD: &str = r#"{"device_id":"05f8968a-b400-4727-9678-b53cb0889fce","timestamp":"2025-12-09T10:30:45+00:00","boot":"0f3c9a7e","seq":1234,"data":{"spo2":97,"spo2_unit":"%","temperature":36.85,"temperature_unit":"°C","heart_rate":72,"heart_rate_bpm":72,"perfusion_index":4.31,"motion":false,"signal_quality":96,"rhythm":"sinus","rr_interval_ms":780.5,"qt_interval_ms":371,"site":"oral","battery":87.5,"respiration_rate":16}}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = DeviceId::new("05f8968a-b400-4727-9678-b53cb0889fce")?;
    let received_at: Timestamp = "2025-12-09T10:31:00Z".parse()?;
    let limits = Limits::default();
    let read = || parse(&device, Some("vitals"), black_box(PAYLOAD.as_bytes()), received_at, &limits);

    let sample = read()?.remove(0);
    let mut best = (u128::MAX, u128::MAX);
    for _ in 0..10 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(read()?);
        }
        best.0 = best.0.min(start.elapsed().as_nanos());
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(sample.to_json(Some(&device)));
        }
        best.1 = best.1.min(start.elapsed().as_nanos());
    }
    let each = |total: u128| total / u128::from(ROUNDS);
    println!("{} metrics, {} bytes, best of 10 x {ROUNDS}:", sample.metrics.len(), PAYLOAD.len());
    println!("  read   {:>6} ns/payload", each(best.0));
    println!("  print  {:>6} ns/payload", each(best.1));
    Ok(())
}
