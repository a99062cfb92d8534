//! The figures of each store, side by side.

use std::time::Duration;

/// What is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Milliseconds,
    BytesPerValue,
}

/// One figure of one store.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
    /// What our store must reach.
    pub(crate) goal: Option<f64>,
}

impl Figure {
    pub(crate) fn new(name: &'static str, unit: Unit, value: f64) -> Self {
        Self { name, unit, value, goal: None }
    }

    pub(crate) fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    fn better(&self) -> Better {
        if self.unit == Unit::PerSecond { Better::More } else { Better::Less }
    }

    /// Empty without a goal.
    fn verdict(&self) -> String {
        let Some(goal) = self.goal else {
            return String::new();
        };
        let (sign, is_met) = match self.better() {
            Better::More => ("≥", self.value >= goal),
            Better::Less => ("≤", self.value <= goal),
        };
        format!("{sign} {} {}", shown(self.unit, goal), if is_met { "met" } else { "MISSED" })
    }
}

/// The figures of one store. Those of every store are in the same order.
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) figures: Vec<Figure>,
}

/// Prints a line for each figure: ours, then each other store with how many times better ours is than it.
pub(crate) fn print_table(stores: &[Measured]) {
    let Some((ours, others)) = stores.split_first() else {
        return;
    };
    print!("\n{:<54}{:>12}", "", ours.name);
    for other in others {
        print!("{:>26}", other.name);
    }
    println!("   goal");
    for (index, figure) in ours.figures.iter().enumerate() {
        print!("{:<54}{:>12}", figure.name, shown(figure.unit, figure.value));
        for other in others {
            let value = other.figures[index].value;
            let times = match figure.better() {
                Better::More => figure.value / value,
                Better::Less => value / figure.value,
            };
            print!("{:>26}", format!("{} ({}×)", shown(figure.unit, value), short(times)));
        }
        println!("   {}", figure.verdict());
    }
    println!("(n×): how many times better ours is; below 1 the other one is better.");
}

/// Prints figures that have nothing to be compared with.
pub(crate) fn print_list(figures: &[Figure]) {
    for figure in figures {
        println!("{:<54}{:>12}   {}", figure.name, shown(figure.unit, figure.value), figure.verdict());
    }
}

fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
        Unit::PerSecond => format!("{:.0} k/s", value / 1e3),
        Unit::Milliseconds => format!("{} ms", short(value)),
        Unit::BytesPerValue => format!("{value:.2} B"),
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// Durations of one thing, measured many times.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// In milliseconds: 0.5 is the median, 1 the longest.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len().saturating_sub(1) as f64 * share).ceil() as usize;
        sorted.get(index).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    }
}
