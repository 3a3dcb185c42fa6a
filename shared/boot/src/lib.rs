//! Process start: configuration, telemetry, shutdown, and the private Redis of `trueup dev` and of the tests.
//!
//! What is deliberately absent: anything about intents, queues or planes, and any use of Redis beyond starting it,
//! asking whether it answers (`PING`) and stopping it.

pub mod config;
pub mod embedded;
pub mod metrics;
pub mod shutdown;
pub mod telemetry;
