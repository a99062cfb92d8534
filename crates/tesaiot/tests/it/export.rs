//! Exports: every value in the columns of a real reader, and what becomes of readers that are slow, leave, or are cut.

mod columns;
mod readers;
