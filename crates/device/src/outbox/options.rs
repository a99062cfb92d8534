//! How an outbox works: when it is durable, how large it may get, what goes when it is full.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// When a message is safe from a power cut. A process that is killed loses nothing under the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before it may be sent: one write to the flash for each message.
    Every,
    /// Within this time: one write to the flash for all messages of the interval.
    Interval(Duration),
    /// Never: messages stay in memory and end with the process. The flash is not written.
    Memory,
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is none of `every`, `memory`, or a time such as `1s` or `250ms`");
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| wanted());
        let interval = match text {
            "every" => return Ok(Self::Every),
            "memory" => return Ok(Self::Memory),
            _ => match (text.strip_suffix("ms"), text.strip_suffix('s')) {
                (Some(digits), _) => Duration::from_millis(number(digits)?),
                (None, Some(digits)) => Duration::from_secs(number(digits)?),
                (None, None) => return Err(wanted()),
            },
        };
        let longest = Duration::from_secs(600);
        if interval.is_zero() || interval > longest {
            return Err(format!("{text:?} is not above zero and at most 600s"));
        }
        Ok(Self::Interval(interval))
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("every"),
            Self::Memory => f.write_str("memory"),
            Self::Interval(interval) => write!(f, "{interval:?}"),
        }
    }
}

/// What goes when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest messages, a segment at a time. Those on their way are not given up: when there are no others, the
    /// message that came is.
    DropOldest,
    /// The message that came.
    DropNewest,
    /// Of the oldest all but every n-th, those first that were thinned least; the newest quarter stays as it is. A long
    /// outage is kept from end to end, evenly.
    Thin {
        /// n, 2 to 100
        keep_every: u32,
    },
}

impl FromStr for WhenFull {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "drop-oldest" => Ok(Self::DropOldest),
            "drop-newest" => Ok(Self::DropNewest),
            "thin" => Ok(Self::Thin { keep_every: 2 }),
            _ => match text.strip_prefix("thin:").and_then(|digits| digits.parse().ok()) {
                Some(keep_every @ 2..=100) => Ok(Self::Thin { keep_every }),
                _ => Err(format!("{text:?} is none of `drop-oldest`, `drop-newest`, `thin`, `thin:2` to `thin:100`")),
            },
        }
    }
}

impl fmt::Display for WhenFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropOldest => f.write_str("drop-oldest"),
            Self::DropNewest => f.write_str("drop-newest"),
            Self::Thin { keep_every } => write!(f, "thin:{keep_every}"),
        }
    }
}

/// How an outbox works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When a message is safe from a power cut
    pub durability: Durability,
    /// Bytes that messages may take, on disk or, with [`Durability::Memory`], in memory; at least 64 KiB
    pub max_bytes: u64,
    /// What goes when they would take more
    pub when_full: WhenFull,
    /// Bytes of messages kept in memory while the disk does not take them
    pub memory_bytes: u64,
}

impl Default for Options {
    /// Durable within a second, 64 MiB (250,000 messages of 250 bytes), the oldest go first; 1 MiB in memory while the
    /// disk fails.
    fn default() -> Self {
        Self {
            durability: Durability::Interval(Duration::from_secs(1)),
            max_bytes: 64 << 20,
            when_full: WhenFull::DropOldest,
            memory_bytes: 1 << 20,
        }
    }
}

impl Options {
    /// Bytes after which a segment is closed: small enough that dropping the oldest one loses a thirty-second of the
    /// outbox, large enough that the files stay few.
    pub(super) fn segment_bytes(&self) -> u64 {
        (self.max_bytes / 32).clamp(4 << 10, 1 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written() {
        for word in ["every", "memory", "1s", "250ms"] {
            assert_eq!(word.parse::<Durability>().unwrap().to_string(), word);
        }
        for word in ["", "s", "0s", "1", "-1s", "601s", "1m", "99999999999999999999s"] {
            assert!(word.parse::<Durability>().is_err(), "{word}");
        }
        for word in ["drop-oldest", "drop-newest", "thin:2", "thin:100"] {
            assert_eq!(word.parse::<WhenFull>().unwrap().to_string(), word);
        }
        assert_eq!("thin".parse::<WhenFull>().unwrap(), WhenFull::Thin { keep_every: 2 });
        for word in ["", "thin:", "thin:1", "thin:101", "oldest"] {
            assert!(word.parse::<WhenFull>().is_err(), "{word}");
        }
    }
}
