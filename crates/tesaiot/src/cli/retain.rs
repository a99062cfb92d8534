//! How long the platform keeps data, as it is written on the command line.

use std::str::FromStr;

use clap::Args;
use tesaiot_store::telemetry::{Options, Retention, RetentionRule};

use super::size::Size;
use super::span::Span;

/// What goes when it is old, or when there is too much. Without these everything is kept.
#[derive(Args)]
#[command(next_help_heading = "Retention")]
pub(crate) struct RetainArgs {
    /// How long samples are kept, in days: 400d; what they add up to by minute, hour and day stays
    /// [default: for ever]
    #[arg(long, value_name = "SPAN")]
    retain: Option<Span>,
    /// The same for the devices whose id begins so: lab-=7d; give it once for each; the longest beginning counts
    #[arg(long = "retain-class", value_name = "PREFIX=SPAN")]
    classes: Vec<Class>,
    /// How long counts, extremes, sums, first and last values by minute, hour and day are kept [default: for ever]
    #[arg(long, value_name = "SPAN")]
    retain_rollups: Option<Span>,
    /// How long events and other messages are kept [default: for ever]
    #[arg(long, value_name = "SPAN")]
    retain_messages: Option<Span>,
    /// The size of the telemetry store above which the oldest samples go, day by day: 20GB; the last two days stay
    #[arg(long, value_name = "SIZE")]
    retain_size: Option<Size>,
}

/// The retention of some devices.
#[derive(Clone, Debug)]
struct Class {
    prefix: Box<str>,
    raw: Span,
}

/// Text that says no class.
#[derive(Debug, thiserror::Error)]
#[error("write how the ids begin and how long: lab-=7d")]
struct InvalidClass;

impl RetainArgs {
    /// Puts it into the bounds of the store.
    pub(crate) fn apply(self, store: &mut Options) {
        let rollups = self.retain_rollups.map(|span| span.duration());
        store.retention = Retention { raw: self.retain.map(|span| span.duration()), rollups };
        store.retention_rules = self
            .classes
            .into_iter()
            .map(|class| {
                let retention = Retention { raw: Some(class.raw.duration()), rollups };
                RetentionRule { prefix: class.prefix, retention }
            })
            .collect();
        store.message_age = self.retain_messages.map(|span| span.duration());
        store.maximum_bytes = self.retain_size.map(|size| size.bytes());
    }
}

impl FromStr for Class {
    type Err = InvalidClass;

    fn from_str(text: &str) -> Result<Self, InvalidClass> {
        let (prefix, span) = text.split_once('=').ok_or(InvalidClass)?;
        let is_beginning_of_an_id =
            prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !(1..=64).contains(&prefix.len()) || !is_beginning_of_an_id {
            return Err(InvalidClass);
        }
        Ok(Self { prefix: prefix.into(), raw: span.parse().map_err(|_| InvalidClass)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_no_others() {
        let class: Class = "lab-=7d".parse().unwrap();
        assert_eq!((&*class.prefix, class.raw.as_str()), ("lab-", "7d"));
        for bad in ["", "=7d", "lab-", "lab-=", "lab-=7", "lab/=7d"] {
            assert!(bad.parse::<Class>().is_err(), "{bad}");
        }
    }
}
