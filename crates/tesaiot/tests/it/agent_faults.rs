//! An agent and a real platform, with everything between and around them failing: nothing acknowledged is lost, nothing
//! is stored twice, and what is given up is told.
//!
//! `TESAIOT_AGENT_KILLS` says how often the agent is killed.

mod disk;
mod foreign;
mod kill9;
mod network;
mod policy;
mod rights;
