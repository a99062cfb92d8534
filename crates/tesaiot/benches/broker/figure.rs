//! How figures are printed: what was measured, the goal, and whether it is met.

/// What a figure must be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

pub(crate) fn heading(text: &str) {
    println!("\n== {text} ==");
}

/// One measured value.
pub(crate) fn value(name: &str, value: f64, unit: &str) {
    println!("  {name:<58} {value:>10.2} {unit}");
}

/// A value that has a goal.
pub(crate) fn judged(name: &str, value: f64, unit: &str, goal: Goal) {
    let (is_met, sign, bound) = match goal {
        Goal::AtMost(bound) => (value <= bound, "≤", bound),
        Goal::AtLeast(bound) => (value >= bound, "≥", bound),
    };
    let verdict = if is_met { "met" } else { "MISSED" };
    println!("  {name:<58} {value:>10.2} {unit}   goal {sign} {bound} {unit}: {verdict}");
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
