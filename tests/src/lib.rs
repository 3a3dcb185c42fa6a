//! What the tests of the whole are made of.

pub mod api;
pub mod contract;
pub mod fleet;
pub mod http;
pub mod stopwatch;
pub mod world;
