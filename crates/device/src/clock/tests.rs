use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use super::*;

const YEAR: i64 = 365 * 86_400;
/// A time after any build of this program.
const TRUE: i64 = 4_000_000_000;

/// Clocks that a test turns.
#[derive(Default)]
struct Turned {
    wall: AtomicI64,
    monotonic: AtomicU64,
    /// 0 nothing can say, 1 no, 2 yes
    synchronised: AtomicU64,
}

impl Turned {
    fn at(wall: i64, synchronised: u64) -> Arc<Self> {
        let turned = Self::default();
        turned.wall.store(wall, Relaxed);
        turned.synchronised.store(synchronised, Relaxed);
        Arc::new(turned)
    }

    /// Time passes on both clocks.
    fn pass(&self, seconds: u64) {
        self.wall.fetch_add(seconds as i64, Relaxed);
        self.monotonic.fetch_add(seconds, Relaxed);
    }

    /// The system's clock alone is set.
    fn step(&self, seconds: i64) {
        self.wall.fetch_add(seconds, Relaxed);
    }
}

impl Source for Arc<Turned> {
    fn wall(&self) -> Timestamp {
        Timestamp::from_second(self.wall.load(Relaxed)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.monotonic.load(Relaxed))
    }

    fn is_synchronised(&self) -> Option<bool> {
        [None, Some(false), Some(true)][self.synchronised.load(Relaxed) as usize]
    }
}

fn clock(turned: &Arc<Turned>, directory: Option<&Path>) -> Clock {
    Clock::new(Box::new(Arc::clone(turned)), directory)
}

fn second(clock: &Clock) -> (i64, bool) {
    let reading = clock.read();
    (reading.time.as_second(), reading.estimated.is_none())
}

fn tls(clock: &Clock) -> i64 {
    clock.current_time().unwrap().as_secs() as i64
}

#[test]
fn a_clock_that_steps_ten_years_either_way_does_not_move_the_samples() {
    for step in [10 * YEAR, -10 * YEAR] {
        let turned = Turned::at(TRUE, 0);
        let clock = clock(&turned, None);
        turned.pass(5);
        assert_eq!(second(&clock), (TRUE + 5, true));
        turned.step(step);
        turned.pass(3600);
        assert_eq!(second(&clock), (TRUE + 3605, false), "it goes on by the monotonic clock, and says so");
        assert_eq!(tls(&clock), (TRUE + 3605).max(TRUE + 3605 + step), "TLS never sees an earlier time");
        let span = clock.read().estimated.unwrap();
        assert_eq!(clock.correction(span), None);
        turned.step(-step);
        turned.pass(5);
        assert_eq!(second(&clock), (TRUE + 3610, true), "the step is taken back");
        assert_eq!(clock.correction(span), Some(SignedDuration::ZERO));
        turned.step(step);
        turned.pass(1);
        clock.read();
        turned.synchronised.store(2, Relaxed);
        turned.pass(1);
        let expected = TRUE + 3612 + step;
        assert_eq!(second(&clock), (expected, true), "a server says that it is right after all");
    }
}

#[test]
fn a_pi_without_a_battery_starts_at_the_last_good_time_and_corrects_what_it_measured() {
    let folder = tempfile::tempdir().unwrap();
    let turned = Turned::at(TRUE, 0);
    clock(&turned, Some(folder.path())).reached();

    for (synchronised, then) in [(0, 0), (1, 2)] {
        let turned = Turned::at(100, synchronised);
        let clock = clock(&turned, Some(folder.path()));
        assert_eq!(second(&clock), (TRUE, false), "not 1970");
        assert_eq!(tls(&clock), TRUE, "no certificate is not yet valid");
        assert!(clock.is_worth_waiting_for());
        turned.pass(30);
        let span = clock.read().estimated.unwrap();
        assert_eq!(second(&clock), (TRUE + 30, false));
        // The network tells the time: a day has passed since the last run.
        turned.step(TRUE + 86_400 - 100);
        turned.synchronised.store(then, Relaxed);
        turned.pass(1);
        assert_eq!(second(&clock), (TRUE + 86_431, true));
        assert_eq!(clock.correction(span), Some(SignedDuration::from_secs(86_400)));
        assert!(!clock.is_worth_waiting_for());
    }
    // Nobody ever tells it: after a while samples are sent as they are.
    let turned = Turned::at(100, 0);
    let clock = clock(&turned, Some(folder.path()));
    turned.pass(HOLD.as_secs());
    assert!(!clock.is_worth_waiting_for() && clock.read().estimated.is_some());
}

#[test]
fn a_start_in_the_near_past_waits_for_timesyncd() {
    // What fake-hwclock does: the time of the last shutdown, plausible and wrong.
    let turned = Turned::at(TRUE, 1);
    let clock = clock(&turned, None);
    turned.pass(10);
    assert_eq!(second(&clock), (TRUE + 10, false));
    turned.step(7200);
    assert_eq!(second(&clock), (TRUE + 10, false), "set, and by whom is not known yet");
    turned.synchronised.store(2, Relaxed);
    assert_eq!(second(&clock), (TRUE + 7210, true));
    assert_eq!(clock.correction(1), Some(SignedDuration::from_secs(7200)));
}

#[test]
fn a_small_jump_is_believed_when_it_lasts_and_a_slewed_clock_is_followed() {
    let turned = Turned::at(TRUE, 0);
    let clock = clock(&turned, None);
    for _ in 0..100 {
        turned.step(1);
        turned.pass(10);
        assert!(second(&clock).1);
    }
    assert_eq!(second(&clock).0, TRUE + 1100);
    turned.step(3600);
    turned.pass(1);
    assert_eq!(second(&clock), (TRUE + 1101, false));
    turned.pass(PATIENCE.as_secs());
    assert_eq!(second(&clock), (TRUE + 4701 + 600, true));
}

#[test]
fn a_floor_that_a_wrong_clock_wrote_gives_way_to_a_server() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clock"), Timestamp::from_second(TRUE + 10 * YEAR).unwrap().to_string()).unwrap();
    let turned = Turned::at(TRUE, 2);
    assert_eq!(second(&clock(&turned, Some(folder.path()))), (TRUE, true));
    fs::write(folder.path().join("clock"), "no time").unwrap();
    assert_eq!(second(&clock(&Turned::at(TRUE, 0), Some(folder.path()))), (TRUE, true));
}

#[test]
fn the_platform_s_word_sets_a_clock_forward_and_never_back() {
    let folder = tempfile::tempdir().unwrap();
    let turned = Turned::at(TRUE - 30 * 86_400, 0);
    let clock = clock(&turned, Some(folder.path()));
    let told = |second: i64| clock.told(Timestamp::from_second(second).unwrap());
    turned.pass(5);
    let before = TRUE - 30 * 86_400 + 5;
    for nothing in [before - 10 * YEAR, before - 5, before + 50, before + 2 * YEAR] {
        told(nothing);
        assert_eq!(second(&clock), (before, true), "{nothing}");
    }
    told(TRUE);
    assert_eq!((second(&clock), tls(&clock)), ((TRUE, false), TRUE), "marked: it is not the system's");
    let span = clock.read().estimated.unwrap();
    // A second word corrects what was stamped by the first.
    told(TRUE + 3600);
    assert_eq!((second(&clock).0, clock.correction(span)), (TRUE + 3600, Some(SignedDuration::from_secs(3600))));
    // The system hears the time, and is believed; what was stamped meanwhile is moved.
    let span = clock.read().estimated.unwrap();
    turned.wall.store(TRUE + 3607, Relaxed);
    turned.pass(3);
    assert_eq!(second(&clock), (TRUE + 3610, true));
    assert_eq!(clock.correction(span), Some(SignedDuration::from_secs(7)));
    // The next run does not start before it.
    let again = Clock::new(Box::new(Turned::at(0, 0)), Some(folder.path()));
    assert!(again.now().as_second() >= TRUE, "{}", again.now());
    // Whoever hears a time server needs no such word.
    let turned = Turned::at(TRUE, 2);
    let clock = Clock::new(Box::new(Arc::clone(&turned)), None);
    clock.told(Timestamp::from_second(TRUE + 3600).unwrap());
    assert_eq!(second(&clock), (TRUE, true));
}
