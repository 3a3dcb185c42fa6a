//! Seed 000, line by line, on each of the planes it names. A module per section, a case per sentence, in the order of the
//! text; what a case says is in its name. Where the seed is a table, so is the case.
//!
//! Everything is the real chain over a memory store with a manual clock, the real planes, and simulators on loopback.

mod drift_types;
mod event_store;
mod frequency;
mod given;
mod monitoring;
mod process;
mod remediation;
