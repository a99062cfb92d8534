//! The data that every store gets: what 100 devices with 13 sensors send in a day.
//!
//! A reading is a level that wanders plus the noise of the sensor. Rounded, it is what a device sends: whole
//! numbers and a few decimals. Not rounded, nearly every bit of the mantissa is noise. The generator always starts
//! from the same seed, so that every store gets the same bits without a copy of them in memory.

/// Devices that send every five seconds.
pub(crate) const DEVICES: usize = 100;
/// The device behind them, which sends every second.
pub(crate) const QUICK_DEVICE: usize = DEVICES;
/// Readings in a message.
pub(crate) const METRICS: usize = 13;
/// The time of the first message: 2026-01-01, in milliseconds since 1970. A day begins.
pub(crate) const START: i64 = 1_767_225_600_000;
/// Milliseconds between two messages of one device.
const INTERVAL: i64 = 5000;
/// Rounds of messages in a day.
pub(crate) const DAY: usize = 17_280;
/// The end of the first day.
pub(crate) const DAY_END: i64 = START + 24 * 3_600_000;

/// A sensor. The level stays within `range` units of `base`.
struct Sensor {
    name: &'static str,
    unit: &'static str,
    base: f64,
    range: f64,
    /// How far the level moves from one reading to the next, at most.
    drift: f64,
    /// The noise of a reading, at most.
    noise: f64,
    /// Decimals of a rounded reading; a sensor with none sends whole numbers.
    decimals: u8,
}

const fn sensor(name: &'static str, unit: &'static str, level: [f64; 2], change: [f64; 2], decimals: u8) -> Sensor {
    Sensor { name, unit, base: level[0], range: level[1], drift: change[0], noise: change[1], decimals }
}

const SENSORS: [Sensor; METRICS] = [
    sensor("heart_rate", "bpm", [75.0, 30.0], [0.8, 1.0], 0),
    sensor("spo2", "%", [97.0, 2.5], [0.05, 0.6], 0),
    sensor("respiration_rate", "/min", [16.0, 5.0], [0.2, 0.7], 0),
    sensor("systolic", "mmHg", [121.0, 25.0], [0.5, 2.0], 0),
    sensor("diastolic", "mmHg", [79.0, 15.0], [0.4, 1.5], 0),
    sensor("rr_interval_ms", "ms", [800.0, 250.0], [6.0, 12.0], 0),
    sensor("body_temperature", "°C", [36.8, 1.2], [0.004, 0.02], 2),
    sensor("perfusion_index", "%", [4.0, 2.5], [0.05, 0.08], 2),
    sensor("ambient_temperature", "°C", [22.5, 6.0], [0.01, 0.03], 2),
    sensor("humidity", "%", [48.0, 20.0], [0.02, 0.06], 1),
    sensor("pressure", "hPa", [1009.0, 15.0], [0.01, 0.03], 2),
    sensor("co2", "ppm", [650.0, 300.0], [2.0, 4.0], 0),
    sensor("battery_voltage", "V", [3.71, 0.4], [0.0005, 0.004], 3),
];

/// The metric that the questions are about: one with decimals.
pub(crate) const ASKED: usize = 8;

/// The name of a metric, and its unit.
pub(crate) fn metric(index: usize) -> (&'static str, &'static str) {
    (SENSORS[index].name, SENSORS[index].unit)
}

/// The name of a device.
pub(crate) fn device_name(device: usize) -> String {
    format!("device-{device:03}")
}

/// Which of the two kinds of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As a device sends it.
    Rounded,
    /// Every bit that was measured, and more.
    FullPrecision,
}

/// One message of a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) device: usize,
    /// Milliseconds since 1970, by the clock of the device.
    pub(crate) time: i64,
    /// The number of the message.
    pub(crate) sequence: u64,
    /// One for each metric.
    pub(crate) readings: [f64; METRICS],
}

/// Whether the readings of a metric are whole numbers.
pub(crate) fn is_whole(kind: Kind, metric: usize) -> bool {
    kind == Kind::Rounded && SENSORS[metric].decimals == 0
}

/// The messages, in the order in which they arrive.
pub(crate) struct Source {
    kind: Kind,
    devices: usize,
    random: Random,
    levels: Vec<[f64; METRICS]>,
    sent: Vec<u64>,
    round: usize,
}

impl Source {
    pub(crate) fn new(kind: Kind, devices: usize) -> Self {
        // One more: the quick device.
        let levels = vec![SENSORS.map(|sensor| sensor.base); devices + 1];
        Self { kind, devices, random: Random(42), levels, sent: vec![0; devices + 1], round: 0 }
    }

    /// One message of every device, five seconds after the last ones. `quick` adds the five of the quick device.
    pub(crate) fn round(&mut self, quick: bool, messages: &mut Vec<Message>) {
        let start = START + self.round as i64 * INTERVAL;
        self.round += 1;
        for device in 0..self.devices {
            // Devices are spread over the interval; a loop that sleeps is late by some milliseconds.
            let time = start + device as i64 * INTERVAL / self.devices as i64 + self.random.below(3);
            messages.push(self.message(device, time));
        }
        if quick {
            for second in 0..5 {
                messages.push(self.message(self.devices, start + second * 1000));
            }
        }
    }

    fn message(&mut self, device: usize, time: i64) -> Message {
        let sequence = self.sent[device];
        self.sent[device] += 1;
        let mut readings = [0.0; METRICS];
        for (index, sensor) in SENSORS.iter().enumerate() {
            let level = &mut self.levels[device][index];
            *level += self.random.symmetric() * sensor.drift;
            *level = level.clamp(sensor.base - sensor.range, sensor.base + sensor.range);
            // The sum of two is a triangle: small errors are more likely than large ones.
            let noise = (self.random.symmetric() + self.random.symmetric()) / 2.0 * sensor.noise;
            readings[index] = match self.kind {
                Kind::Rounded => round(*level + noise, sensor.decimals),
                Kind::FullPrecision => *level + noise,
            };
        }
        Message { device, time, sequence, readings }
    }
}

/// The number that a program reads from the decimal digits.
fn round(reading: f64, decimals: u8) -> f64 {
    let scale = 10_f64.powi(decimals.into());
    (reading * scale).round() / scale
}

/// xorshift64*: good enough for noise.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> i64 {
        (self.next() % bound) as i64
    }

    /// From -1 to 1.
    fn symmetric(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}
