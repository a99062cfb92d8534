//! Why a Raspberry Pi is slow: the firmware's throttling flags.
//!
//! `get_throttled` is a hexadecimal mask: what is so now in bits 0 to 3, what happened since the start in bits 16 to 19
//! (Raspberry Pi documentation, `vcgencmd get_throttled`). A supply that is too weak is the first cause of devices that
//! misbehave in the field.

use tesaiot_contract::{Metric, Value};

use super::super::{Tree, metric, tree};

const FILES: [&str; 2] = [
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
];
const FLAGS: [(u32, &str); 4] =
    [(0, "under_voltage"), (1, "frequency_capped"), (2, "throttled"), (3, "soft_temperature_limit")];

pub(super) fn read(tree: &Tree, metrics: &mut Vec<Metric>) {
    let Some(text) = FILES.iter().find_map(|file| tree::text(&tree.path(file)).ok()) else { return };
    let Ok(mask) = u32::from_str_radix(text.trim_start_matches("0x"), 16) else { return };
    let is_set = |bit: u32| mask >> bit & 1 == 1;
    metrics.extend(FLAGS.iter().map(|(bit, name)| metric(name, Value::Bool(is_set(*bit)), None)));
    // What has happened is told only where it did: eight flags in every sample help nobody.
    let occurred = FLAGS.iter().filter(|(bit, _)| is_set(bit + 16));
    metrics.extend(occurred.map(|(_, name)| metric(&format!("{name}_occurred"), Value::Bool(true), None)));
}
