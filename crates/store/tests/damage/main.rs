//! Damage: files cut off, bits that flip, a disk that is full. What was acknowledged is intact, or its loss is reported;
//! what is served was stored; an open that fails says what to do.
#![allow(clippy::unwrap_used, reason = "a test ends at the first error")]

mod flipped;
mod full_disk;
mod scene;
mod torn;
