//! What the tests of the whole are made of.

pub mod contract;
pub mod fleet;
pub mod stopwatch;
pub mod world;
