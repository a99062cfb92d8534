//! Commands to the device: what they may be, which of them came, and what became of them.
//!
//! A command with an identifier runs once: it is in the [`Journal`], on disk, before the broker gets its
//! acknowledgement, and a second delivery is answered with what became of the first. One without an identifier is
//! acknowledged before it runs; it runs at most once, and an answer that does not get through is lost with it.

mod answer;
mod built_in;
mod journal;
mod request;
mod template;

pub use answer::{Answer, State};
pub use built_in::BuiltIn;
pub(crate) use journal::{Journal, Known};
pub(crate) use request::{Arrived, Request, arrived};
pub use template::TemplateError;
pub(crate) use template::fill;
