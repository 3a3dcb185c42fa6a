//! The durable core.

pub mod store;

/// Why the engine could not do something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Redis is away, loading, full or failing over. May pass; says what was seen.
    #[error("Redis is not available: {0}")]
    Unavailable(String),
    /// Will not pass by itself: wrong password, wrong data in a key, not our database.
    #[error("{0}")]
    Refused(String),
}
