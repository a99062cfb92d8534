//! Finding a metric of a sample by name. A device sends a dozen metrics, for which looking at each is fastest; a hostile
//! peer sends hundreds, for which it would be quadratic.

use crate::telemetry::{Metric, PayloadError};

/// Up to this many metrics are searched one by one.
const SMALL: usize = 24;

/// The names of a sample's metrics, all different.
pub(super) enum Index {
    /// Searched one by one.
    Small,
    /// Positions, sorted by name.
    Sorted(Vec<usize>),
}

impl Index {
    /// Fails when two metrics have the same name.
    pub(super) fn new(metrics: &[Metric]) -> Result<Self, PayloadError> {
        let duplicate = |name: &str| PayloadError::DuplicateMetric { name: name.into() };
        if metrics.len() <= SMALL {
            for (position, metric) in metrics.iter().enumerate() {
                if metrics[..position].iter().any(|other| other.name == metric.name) {
                    return Err(duplicate(&metric.name));
                }
            }
            return Ok(Self::Small);
        }
        let mut sorted: Vec<usize> = (0..metrics.len()).collect();
        sorted.sort_unstable_by(|a, b| metrics[*a].name.cmp(&metrics[*b].name));
        for pair in sorted.windows(2) {
            if metrics[pair[0]].name == metrics[pair[1]].name {
                return Err(duplicate(&metrics[pair[0]].name));
            }
        }
        Ok(Self::Sorted(sorted))
    }

    /// The position of the metric `name` among the metrics the index was made of.
    pub(super) fn find(&self, metrics: &[Metric], name: &str) -> Option<usize> {
        match self {
            Self::Small => metrics.iter().position(|metric| *metric.name == *name),
            Self::Sorted(sorted) => {
                let found = sorted.binary_search_by(|position| (*metrics[*position].name).cmp(name)).ok()?;
                Some(sorted[found])
            }
        }
    }
}
