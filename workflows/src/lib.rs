//! The chain.

pub mod ports;
pub mod step;

pub use ports::{Notice, Ports};
pub use step::Step;
