//! From nested JSON to a flat list of named metrics: names, units, and the bounds of both.
//!
//! A unit (`x_unit` beside `x`) usually follows its metric and is attached at once. In the other cases — the unit
//! first, the unit of a whole object or array, the unit of a reading that is null — it waits until the sample ends.

mod index;
mod units;

use std::fmt::Write;

use super::{Limits, Metric, PayloadError, Value};

/// What turns the name of a metric into the name of its unit.
pub(super) const UNIT_SUFFIX: &str = "_unit";

/// Metrics for which room is made before the first is read; a device's samples have about as many each time.
const FIRST_CAPACITY: usize = 16;
/// A large first sample must not make every following one of the batch reserve as much.
const MAX_CAPACITY_HINT: usize = 64;

/// Collects the metrics of one sample after the other.
pub(super) struct Flattener<'a> {
    limits: &'a Limits,
    /// Name of the value being read: the keys and positions that led to it, joined by `_`.
    name: String,
    metrics: Vec<Metric>,
    /// Positions in `metrics` of names that end in `_unit`.
    unit_like: Vec<usize>,
    /// Values without a metric of their own name; they may have a unit nevertheless.
    groups: Vec<Group>,
    /// Everything counted towards the limit of a batch, without the current sample.
    counted: usize,
    capacity: usize,
}

/// An object or array and the metrics it became; a null became none.
struct Group {
    name: Box<str>,
    metrics: std::ops::Range<usize>,
}

/// An object or array that is being read.
pub(super) struct OpenGroup {
    index: Option<usize>,
    /// Length of the name in front of its elements.
    prefix: usize,
}

impl<'a> Flattener<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            name: String::with_capacity(64),
            metrics: Vec::new(),
            unit_like: Vec::new(),
            groups: Vec::new(),
            counted: 0,
            capacity: FIRST_CAPACITY,
        }
    }

    /// The name of the value being read.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Begins a sample.
    pub(super) fn start(&mut self) {
        self.name.clear();
        self.unit_like.clear();
        self.groups.clear();
        self.metrics = Vec::with_capacity(self.capacity.min(self.limits.max_metrics));
    }

    /// The value that follows is named `key` (outermost).
    pub(super) fn set_name(&mut self, key: &str) -> Result<(), PayloadError> {
        self.name.clear();
        self.append(key)
    }

    /// The value that follows is the member `key` of `group`.
    pub(super) fn set_member(&mut self, group: &OpenGroup, key: &str) -> Result<(), PayloadError> {
        self.name.truncate(group.prefix);
        if group.prefix > 0 {
            self.name.push('_');
        }
        self.append(key)
    }

    /// The value that follows is the element `position` of `group`.
    pub(super) fn set_element(&mut self, group: &OpenGroup, position: usize) -> Result<(), PayloadError> {
        self.name.truncate(group.prefix);
        // Writing to a String cannot fail.
        let _ = write!(self.name, "_{position}");
        self.check_name(group.prefix)
    }

    fn append(&mut self, key: &str) -> Result<(), PayloadError> {
        let start = self.name.len();
        self.name.push_str(key);
        self.check_name(start)
    }

    fn check_name(&self, start: usize) -> Result<(), PayloadError> {
        let limit = self.limits.max_name_bytes;
        if self.name.len() > limit {
            return Err(PayloadError::NameTooLong { start: self.name.chars().take(32).collect(), limit });
        }
        if self.name.is_empty() {
            return Err(PayloadError::EmptyName);
        }
        if self.name.as_bytes()[start..].iter().any(u8::is_ascii_control) {
            return Err(PayloadError::ControlCharacterInName { name: self.boxed_name() });
        }
        Ok(())
    }

    /// `data`: the members are outermost themselves.
    pub(super) fn open_data(&mut self) -> OpenGroup {
        self.name.clear();
        OpenGroup { index: None, prefix: 0 }
    }

    /// An object or array begins at the current name, inside `depth` others.
    pub(super) fn open(&mut self, depth: usize) -> Result<OpenGroup, PayloadError> {
        let limit = self.limits.max_depth;
        if depth >= limit {
            return Err(PayloadError::TooDeep { name: self.boxed_name(), limit });
        }
        self.null()?;
        Ok(OpenGroup { index: Some(self.groups.len() - 1), prefix: self.name.len() })
    }

    /// The object or array has ended.
    pub(super) fn close(&mut self, group: &OpenGroup) {
        if let Some(group) = group.index.and_then(|index| self.groups.get_mut(index)) {
            group.metrics.end = self.metrics.len();
        }
    }

    /// The current value is null.
    pub(super) fn null(&mut self) -> Result<(), PayloadError> {
        self.count()?;
        let here = self.metrics.len();
        self.groups.push(Group { name: self.boxed_name(), metrics: here..here });
        Ok(())
    }

    /// The current value is text: a metric, or the unit of the one before.
    pub(super) fn text(&mut self, text: &str) -> Result<(), PayloadError> {
        if let Some(metric) = unit_base(&self.name)
            && let Some(last) = self.metrics.last_mut()
            && *last.name == *metric
            && last.unit.is_none()
            && unit_base(&last.name).is_none()
        {
            last.unit = units::checked(metric, text, self.limits)?;
            return Ok(());
        }
        let limit = self.limits.max_text_bytes;
        if text.len() > limit {
            return Err(PayloadError::TextTooLong { name: self.boxed_name(), limit });
        }
        if text.as_bytes().contains(&0) {
            return Err(PayloadError::NulInText { name: self.boxed_name() });
        }
        self.value(Value::Text(text.into()))
    }

    /// The current value is a metric.
    pub(super) fn value(&mut self, value: Value) -> Result<(), PayloadError> {
        self.count()?;
        if unit_base(&self.name).is_some() {
            self.unit_like.push(self.metrics.len());
        }
        self.metrics.push(Metric { name: self.boxed_name(), value, unit: None });
        Ok(())
    }

    /// Ends the sample and hands out its metrics.
    pub(super) fn finish(&mut self) -> Result<Vec<Metric>, PayloadError> {
        self.name.clear();
        self.counted += self.in_sample();
        let mut metrics = std::mem::take(&mut self.metrics);
        units::resolve(&mut metrics, &mut self.unit_like, &mut self.groups, self.limits)?;
        if metrics.is_empty() {
            return Err(PayloadError::NoMetrics);
        }
        self.capacity = metrics.len().min(MAX_CAPACITY_HINT);
        Ok(metrics)
    }

    fn in_sample(&self) -> usize {
        self.metrics.len() + self.groups.len()
    }

    fn count(&self) -> Result<(), PayloadError> {
        let count = self.in_sample();
        for (count, limit) in [(count, self.limits.max_metrics), (self.counted + count, self.limits.max_batch_metrics)]
        {
            if count >= limit {
                return Err(PayloadError::TooManyMetrics { limit });
            }
        }
        Ok(())
    }

    fn boxed_name(&self) -> Box<str> {
        self.name.as_str().into()
    }
}

/// The name of the metric whose unit `name` would be.
fn unit_base(name: &str) -> Option<&str> {
    name.strip_suffix(UNIT_SUFFIX).filter(|base| !base.is_empty())
}
