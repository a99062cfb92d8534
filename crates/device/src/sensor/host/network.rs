//! Bytes and errors of each network interface since the machine started (`/proc/net/dev`, proc_pid_net(5)).

use tesaiot_contract::{Metric, Value};

use super::super::{Tree, metric, tree};

/// A container host has hundreds of virtual interfaces; a device has few.
const MOST_INTERFACES: usize = 8;

pub(super) fn read(tree: &Tree, metrics: &mut Vec<Metric>) {
    let Ok(text) = tree::text(&tree.path("proc/net/dev")) else { return };
    let interfaces = text.lines().filter_map(interface).filter(|(name, _)| *name != "lo");
    for (name, counters) in interfaces.take(MOST_INTERFACES) {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        metrics.push(metric(&format!("network_{name}_received"), Value::Integer(counters[0]), Some("B")));
        metrics.push(metric(&format!("network_{name}_sent"), Value::Integer(counters[8]), Some("B")));
        let errors = counters[2].saturating_add(counters[3]).saturating_add(counters[10]).saturating_add(counters[11]);
        metrics.push(metric(&format!("network_{name}_errors"), Value::Integer(errors), None));
    }
}

/// `eth0: ` and sixteen counters: eight received (bytes packets errs drop …), eight sent.
fn interface(line: &str) -> Option<(&str, [i64; 16])> {
    let (name, counters) = line.split_once(':')?;
    let mut words = counters.split_whitespace();
    let mut values = [0; 16];
    for value in &mut values {
        *value = words.next()?.parse().ok()?;
    }
    Some((name.trim(), values))
}
