//! The units that could not be attached while reading.
//!
//! `x_unit` is first taken for the unit of the metric `x`, shortest name first, so that `x_unit_unit` cannot claim
//! `x_unit` before `x` does. What is left may name an object, an array or a null: its unit is that of every metric in it
//! that has none of its own. What is still left is text like any other.

use super::index::Index;
use super::{Group, UNIT_SUFFIX, unit_base};
use crate::telemetry::{Limits, Metric, PayloadError, Value};

/// Attaches what waits, removes what turned out to be a unit, and refuses two metrics of one name.
pub(super) fn resolve(
    metrics: &mut Vec<Metric>,
    unit_like: &mut [usize],
    groups: &mut [Group],
    limits: &Limits,
) -> Result<(), PayloadError> {
    let index = Index::new(metrics)?;
    if unit_like.is_empty() {
        return Ok(());
    }
    unit_like.sort_by_key(|position| metrics[*position].name.len());
    let mut is_unit = vec![false; metrics.len()];
    let mut left = Vec::new();
    for &position in unit_like.iter() {
        let base = unit_base(&metrics[position].name).and_then(|base| index.find(metrics, base));
        match base.filter(|base| !is_unit[*base]) {
            Some(base) => is_unit[position] = attach(metrics, position, base, limits)?,
            None => left.push(position),
        }
    }
    // The innermost group first: its unit is nearer to the metric.
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    for &position in left.iter().rev() {
        is_unit[position] = attach_to_group(metrics, position, groups, &index, limits)?;
    }
    let mut is_unit = is_unit.into_iter();
    metrics.retain(|_| !is_unit.next().unwrap_or(false));
    Ok(())
}

/// The unit in a text; none when it is empty.
pub(super) fn checked(metric: &str, text: &str, limits: &Limits) -> Result<Option<Box<str>>, PayloadError> {
    let limit = limits.max_unit_bytes;
    if text.len() > limit || text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(PayloadError::UnitNotAccepted { name: metric.into(), limit });
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Makes the metric at `position` the unit of the one at `base`, when it is text. Says whether it was.
fn attach(metrics: &mut [Metric], position: usize, base: usize, limits: &Limits) -> Result<bool, PayloadError> {
    if metrics[base].unit.is_some() {
        return Err(PayloadError::DuplicateMetric { name: metrics[position].name.clone() });
    }
    let Value::Text(text) = &metrics[position].value else { return Ok(false) };
    metrics[base].unit = checked(&metrics[base].name, text, limits)?;
    Ok(true)
}

fn attach_to_group(
    metrics: &mut [Metric],
    position: usize,
    groups: &[Group],
    index: &Index,
    limits: &Limits,
) -> Result<bool, PayloadError> {
    let Value::Text(text) = &metrics[position].value else { return Ok(false) };
    let Some(base) = unit_base(&metrics[position].name) else { return Ok(false) };
    let first = groups.partition_point(|group| *group.name < *base);
    let Some(group) = groups.get(first).filter(|group| *group.name == *base) else { return Ok(false) };
    let unit = checked(base, text, limits)?;
    for member in group.metrics.clone() {
        // A number named as the unit of this metric would be printed beside the unit under the same name.
        let taken = |metric: &Metric| index.find(metrics, &format!("{}{UNIT_SUFFIX}", metric.name)).is_some();
        if metrics[member].unit.is_none() && !taken(&metrics[member]) {
            metrics[member].unit.clone_from(&unit);
        }
    }
    Ok(true)
}
