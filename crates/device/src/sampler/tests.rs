use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tesaiot_contract::{Metric, Value};
use tokio::time::timeout_at;

use super::*;

/// Gives what it is handed, and blocks until it is handed something.
struct Handed(Receiver<Result<f64, SensorError>>);

impl Sensor for Handed {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        self.0.recv().expect("the test hands something").map(|value| sample(value, Some(now)))
    }
}

impl Feed for Handed {
    fn next(&mut self, patience: Duration) -> Result<Option<Sample>, SensorError> {
        match self.0.recv_timeout(patience) {
            Ok(handed) => handed.map(|value| Some(sample(value, None))),
            Err(_) => Ok(None),
        }
    }
}

/// Counts its readings, at once.
struct Counter(u64);

impl Sensor for Counter {
    fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
        self.0 += 1;
        Ok(sample(self.0 as f64, Some(now)))
    }

    fn is_instant(&self) -> bool {
        true
    }
}

fn sample(value: f64, time: Option<Timestamp>) -> Sample {
    let metric = Metric { name: "temperature".into(), value: Value::Float(value), unit: Some("°C".into()) };
    Sample { time, id: None, metrics: vec![metric] }
}

fn plan(name: &str, milliseconds: u64) -> Plan {
    Plan::new(TelemetryType::new(name).unwrap(), Duration::from_millis(milliseconds))
}

fn handed() -> (SyncSender<Result<f64, SensorError>>, Box<Handed>) {
    let (sender, receiver) = sync_channel(8);
    (sender, Box::new(Handed(receiver)))
}

fn broken() -> SensorError {
    SensorError::Read { path: "/sys/x".into(), source: io::ErrorKind::NotFound.into() }
}

fn value(observation: &Observation) -> Option<f64> {
    match &observation.outcome {
        Outcome::Read { sample, .. } => sample.metrics[0].value.number(),
        Outcome::Failed { .. } => None,
    }
}

/// The system's clock stands in: what counts is that every sample has a time.
fn now() -> Timestamp {
    Timestamp::from_second(1_765_276_245).unwrap()
}

#[tokio::test]
async fn a_sensor_that_hangs_or_fails_does_not_stop_the_others() {
    let mut sampler = Sampler::new();
    let (hanging, sensor) = handed();
    sampler.add(plan("hanging", 20), sensor).unwrap();
    let (failing, sensor) = handed();
    sampler.add(plan("failing", 20), sensor).unwrap();
    sampler.add(plan("counter", 20), Box::new(Counter(0))).unwrap();
    failing.send(Err(broken())).unwrap();
    let mut counted = 0;
    let mut failures = 0;
    while counted < 20 || failures == 0 {
        let observation = sampler.next(now).await;
        match &*observation.sensor {
            "counter" => counted += 1,
            "failing" => {
                let Outcome::Failed { error, .. } = &observation.outcome else { panic!("{observation:?}") };
                assert!(error.describe().contains("/sys/x cannot be read: "), "{}", error.describe());
                failures += 1;
            }
            other => panic!("{other} said something"),
        }
    }
    hanging.send(Ok(1.5)).unwrap();
    failing.send(Ok(2.5)).unwrap();
    let (mut woken, mut recovered) = (false, false);
    while !(woken && recovered) {
        let observation = sampler.next(now).await;
        match (&*observation.sensor, &observation.outcome) {
            ("hanging", outcome) => woken = matches!(outcome, Outcome::Read { .. }),
            ("failing", Outcome::Read { recovered: again, .. }) => recovered = *again,
            ("counter", _) => {}
            _ => panic!("{observation:?}"),
        }
    }
    drop((hanging, failing));
}

#[tokio::test(start_paused = true)]
async fn a_sensor_that_hangs_is_told_once_and_a_short_stop_does_not_wait_for_it() {
    let mut sampler = Sampler::new();
    let (_hanging, sensor) = handed();
    sampler.add(plan("hanging", 20), sensor).unwrap();
    let observation = sampler.next(now).await;
    let Outcome::Failed { error: SensorError::TimedOut { after, .. }, .. } = observation.outcome else {
        panic!("{observation:?}");
    };
    assert_eq!(after, PATIENCE);
    assert!(timeout(Duration::from_secs(3600), sampler.next(now)).await.is_err(), "once is enough");
    let began = Instant::now();
    sampler.stop().await;
    assert!(began.elapsed() <= GOODBYE);
}

#[tokio::test(start_paused = true)]
async fn failures_are_asked_again_later_and_later() {
    struct Broken(bool);
    impl Sensor for Broken {
        fn read(&mut self, now: Timestamp) -> Result<Sample, SensorError> {
            if self.0 { Ok(sample(1.0, Some(now))) } else { Err(broken()) }
        }

        fn is_instant(&self) -> bool {
            true
        }
    }
    let mut sampler = Sampler::new();
    sampler.add(plan("broken", 10_000), Box::new(Broken(false))).unwrap();
    let mut waits = Vec::new();
    let mut last = Instant::now();
    for _ in 0..8 {
        sampler.next(now).await;
        waits.push(last.elapsed().as_secs());
        last = Instant::now();
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(sampler.health()[0].failed, 8);
    assert_eq!(backoff(Duration::from_secs(900), 30), Duration::from_secs(900));
}

#[tokio::test(start_paused = true)]
async fn each_sensor_keeps_its_own_interval_without_drift() {
    let mut sampler = Sampler::new();
    sampler.add(plan("quick", 1_000), Box::new(Counter(0))).unwrap();
    sampler.add(plan("slow", 10_000), Box::new(Counter(0))).unwrap();
    let began = Instant::now();
    let (mut quick, mut slow) = (0, 0);
    let end = began + Duration::from_millis(59_500);
    while let Ok(observation) = timeout_at(end, sampler.next(now)).await {
        match &*observation.sensor {
            "quick" => quick += 1,
            _ => slow += 1,
        }
    }
    assert_eq!((quick, slow), (60, 6), "at 0 s, 1 s … and at 0 s, 10 s … 50 s");
    assert_eq!(sampler.set_interval(Some("slow"), Duration::from_secs(1)), 1);
    assert!(sampler.read_now(Some("nobody")).is_empty());
    assert_eq!(sampler.read_now(None).len(), 2);
    let (first, second) = (sampler.next(now).await, sampler.next(now).await);
    assert_eq!((value(&first), value(&second)), (Some(61.0), Some(7.0)));
    assert!(end.elapsed() < Duration::from_millis(100), "asked at once");
}

#[tokio::test]
async fn a_feed_speaks_when_it_likes_and_is_flagged_and_renamed_like_any_other() {
    let mut sampler = Sampler::new();
    let (sender, feed) = handed();
    let mut plan = plan("serial", 1);
    plan.bounds = vec![Bounds { metric: "temperature".into(), low: -40.0, high: 85.0 }];
    plan.units = vec![("temperature".into(), "K".into())];
    sampler.add_feed(plan, feed).unwrap();
    sender.send(Ok(99.0)).unwrap();
    let observation = sampler.next(now).await;
    let Outcome::Read { sample, faults, .. } = &observation.outcome else { panic!("{observation:?}") };
    assert_eq!(faults, &[("temperature".into(), Fault::TooHigh)]);
    assert_eq!((sample.time, sample.metrics[0].unit.as_deref()), (Some(now()), Some("K")));
    sender.send(Ok(98.0)).unwrap();
    let Outcome::Read { sample, faults, .. } = sampler.next(now).await.outcome else { panic!("it was read") };
    assert_eq!((faults.len(), sample.metrics.len()), (0, 2), "told once, and named in every sample");
    assert!(sampler.read_now(None).is_empty(), "a feed cannot be asked");
    sampler.stop().await;
    assert!(sender.send(Ok(1.0)).is_err() || sender.send(Ok(1.0)).is_err(), "its thread has ended");
}

#[tokio::test]
async fn names_are_unique_and_intervals_above_zero() {
    let mut sampler = Sampler::new();
    sampler.add(plan("a", 1), Box::new(Counter(0))).unwrap();
    assert!(matches!(sampler.add(plan("a", 1), Box::new(Counter(0))), Err(SamplerError::DuplicateName(_))));
    assert!(matches!(sampler.add(plan("b", 0), Box::new(Counter(0))), Err(SamplerError::Interval(_))));
    assert_eq!((sampler.len(), sampler.is_empty()), (1, false));
}
