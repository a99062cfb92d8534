//! The machine itself: load, memory, disk, temperature, throttling, network.
//!
//! What a machine does not have (a battery-less Pi has no swap, a virtual machine no thermal zone) is left out of the
//! sample; that is no failure.

mod network;
mod throttling;

use std::path::PathBuf;

use jiff::Timestamp;
use tesaiot_contract::{Metric, Sample, Value};

use super::{Sensor, SensorError, Tree, metric, tree};
use crate::random::rounded;

/// The machine the agent runs on.
#[derive(Debug)]
pub struct HostSensor {
    tree: Tree,
    /// A path of the file system whose room is told
    disk: PathBuf,
    /// Busy and total time of all processors at the last reading
    processor: Option<(u64, u64)>,
}

impl HostSensor {
    /// `disk` is any path of the file system whose room is told.
    pub fn new(tree: Tree, disk: PathBuf) -> Self {
        Self { tree, disk, processor: None }
    }

    fn processor(&mut self, metrics: &mut Vec<Metric>) {
        if let Ok(text) = tree::text(&self.tree.path("proc/stat"))
            && let Some(now) = processor_time(&text)
        {
            // The share of the time since the last reading: the first has none to compare with.
            if let Some((busy, total)) = self.processor.replace(now)
                && let (Some(busy), Some(total @ 1..)) = (now.0.checked_sub(busy), now.1.checked_sub(total))
            {
                let share = rounded(100.0 * busy as f64 / total as f64, 1);
                metrics.push(metric("cpu_usage", Value::Float(share.min(100.0)), Some("%")));
            }
        }
        if let Ok(text) = tree::text(&self.tree.path("proc/loadavg")) {
            let load = text.split(' ').next().and_then(|word| word.parse().ok());
            metrics.extend(load.map(|load| metric("load_1m", Value::Float(load), None)));
        }
    }

    fn memory(&self, metrics: &mut Vec<Metric>) {
        let Ok(text) = tree::text(&self.tree.path("proc/meminfo")) else { return };
        let kilobytes = |name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            rest.split_whitespace().next()?.parse::<i64>().ok()
        };
        if let (Some(total @ 1..), Some(available)) = (kilobytes("MemTotal"), kilobytes("MemAvailable")) {
            let used = rounded(100.0 * (total - available) as f64 / total as f64, 1);
            metrics.push(metric("memory_used", Value::Float(used), Some("%")));
            metrics.push(metric("memory_available", Value::Integer(available / 1024), Some("MiB")));
        }
        if let (Some(total @ 1..), Some(free)) = (kilobytes("SwapTotal"), kilobytes("SwapFree")) {
            let used = rounded(100.0 * (total - free) as f64 / total as f64, 1);
            metrics.push(metric("swap_used", Value::Float(used), Some("%")));
        }
    }

    fn disk(&self, metrics: &mut Vec<Metric>) {
        let Ok(room) = rustix::fs::statvfs(&self.disk) else { return };
        let (total, free) = (room.f_blocks, room.f_bavail);
        if total > 0 {
            let used = rounded(100.0 * total.saturating_sub(free) as f64 / total as f64, 1);
            metrics.push(metric("disk_used", Value::Float(used), Some("%")));
            let free = i64::try_from((u128::from(free) * u128::from(room.f_frsize)) >> 20).unwrap_or(i64::MAX);
            metrics.push(metric("disk_free", Value::Integer(free), Some("MiB")));
        }
    }

    fn temperature(&self, metrics: &mut Vec<Metric>) {
        // Zone 0 is the SoC on every Raspberry Pi.
        if let Ok(thousandths) = tree::number(&self.tree.path("sys/class/thermal/thermal_zone0/temp")) {
            metrics.push(metric("soc_temperature", Value::Float(rounded(thousandths / 1000.0, 1)), Some("°C")));
        }
    }

    fn uptime(&self, metrics: &mut Vec<Metric>) {
        if let Ok(seconds) = tree::number(&self.tree.path("proc/uptime")) {
            metrics.push(metric("uptime", Value::Integer(seconds as i64), Some("s")));
        }
    }
}

impl Sensor for HostSensor {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        let mut metrics = Vec::with_capacity(24);
        self.processor(&mut metrics);
        self.memory(&mut metrics);
        self.disk(&mut metrics);
        self.temperature(&mut metrics);
        throttling::read(&self.tree, &mut metrics);
        network::read(&self.tree, &mut metrics);
        self.uptime(&mut metrics);
        match metrics.is_empty() {
            true => Err(SensorError::Missing { what: format!("{}", self.tree.path("proc").display()) }),
            false => Ok(Sample { time: Some(now), id: None, metrics }),
        }
    }
}

/// Busy and total time in the first line of `/proc/stat` (proc_stat(5)): user nice system idle iowait irq softirq
/// steal; what follows is in user and nice already.
fn processor_time(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let total = times.iter().fold(0u64, |sum, time| sum.saturating_add(*time));
    let idle = times.get(3)?.saturating_add(*times.get(4)?);
    Some((total.saturating_sub(idle), total))
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{FakeTree, lines};
    use super::*;

    const FILES: [(&str, &str); 6] = [
        ("proc/stat", "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n"),
        ("proc/loadavg", "0.42 0.30 0.25 1/123 4567\n"),
        (
            "proc/meminfo",
            "MemTotal: 948304 kB\nMemFree: 1 kB\nMemAvailable: 474152 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        ),
        ("proc/uptime", "1234.56 4321.00\n"),
        ("sys/class/thermal/thermal_zone0/temp", "51540\n"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
    ];

    fn without_disk(sample: &Sample) -> Vec<String> {
        lines(sample).into_iter().filter(|line| !line.starts_with("disk_")).collect()
    }

    #[test]
    fn a_pi_says_how_it_is() {
        let tree = FakeTree::new(&FILES);
        tree.write("proc/net/dev", "Inter-|   Receive\n face |bytes\n  eth0: 1000 1 0 2 0 0 0 0 500 1 3 0 0 0 0 0\n");
        let mut sensor = HostSensor::new(tree.tree(), "/".into());
        let first = sensor.read(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            without_disk(&first),
            [
                "load_1m 0.42 -",
                "memory_used 50 %",
                "memory_available 463 MiB",
                "soc_temperature 51.5 °C",
                "under_voltage true -",
                "frequency_capped false -",
                "throttled true -",
                "soft_temperature_limit false -",
                "under_voltage_occurred true -",
                "throttled_occurred true -",
                "network_eth0_received 1000 B",
                "network_eth0_sent 500 B",
                "network_eth0_errors 5 -",
                "uptime 1234 s",
            ]
        );
        let disk = lines(&first).into_iter().filter(|line| line.starts_with("disk_")).count();
        assert_eq!(disk, 2, "the test's machine has a disk");
        tree.write("proc/stat", "cpu  150 0 75 850 75 0 0 0 0 0\n");
        assert_eq!(without_disk(&sensor.read(Timestamp::UNIX_EPOCH).unwrap())[0], "cpu_usage 50 %");
        tree.write("proc/stat", "cpu  1 0 0 1 0 0 0 0 0 0\n");
        let after = sensor.read(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(without_disk(&after)[0], "load_1m 0.42 -", "counters that went back give no share");
    }

    #[test]
    fn this_machine_says_something_and_an_empty_one_is_an_error() {
        let mut sensor = HostSensor::new(Tree::default(), "/".into());
        assert!(sensor.read(Timestamp::UNIX_EPOCH).unwrap().metrics.len() >= 5);
        let mut empty = HostSensor::new(FakeTree::new(&[]).tree(), "/nowhere/at/all".into());
        assert!(matches!(empty.read(Timestamp::UNIX_EPOCH), Err(SensorError::Missing { .. })));
    }
}
