//! Who asks, and what they may.
//!
//! # Guarantees
//! A handler that concerns a tenant asks [`Access`] before it reads or changes anything of that tenant; what somebody may not
//! see is not there for them: it is not found, and not counted.

mod access;
mod permission;

pub use access::Access;
pub use permission::Permission;
