//! Commands to the device: what they may be, which of them came, and what became of them.

mod built_in;

pub use built_in::BuiltIn;
