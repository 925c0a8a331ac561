//! From faults of the store to problem documents. What a caller can put right keeps its words; the rest becomes "internal".
//!
//! Must not know: any single resource.

use axum::http::StatusCode;
use postrider_store::StoreError;

use crate::problem::Problem;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::NotFound { what } => Problem::not_found(what),
            StoreError::Conflict { message } => Problem::conflict(could_not(&message)),
            StoreError::Refused { message } => Problem::refused(could_not(&message)),
            StoreError::Full { .. } => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_space",
                "the server has too little free disk space to take anything new: make room, then try again",
            ),
            internal @ (StoreError::Database(_)
            | StoreError::Migration(_)
            | StoreError::InUse { .. }
            | StoreError::BadVersion { .. }
            | StoreError::NetworkFileSystem { .. }
            | StoreError::Sealed(_)
            | StoreError::Corrupt(_)
            | StoreError::Fatal(_)
            | StoreError::Config(_)
            | StoreError::File { .. }) => {
                if internal.is_transient() {
                    return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the database was busy: try again");
                }
                tracing::error!(error = %internal, "a request failed inside");
                Problem::internal()
            }
        }
    }
}

/// The store's messages continue "could not …".
fn could_not(message: &str) -> String {
    format!("could not {message}")
}
