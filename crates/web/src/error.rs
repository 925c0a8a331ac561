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
                if internal.is_storage_failure() {
                    tracing::error!(error = %internal, "the storage failed");
                    return Problem::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "storage_failed",
                        "the storage of the server failed; what was accepted before is safe. Try again when it is mended",
                    );
                }
                if internal.is_transient() {
                    return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the database was busy: try again");
                }
                tracing::error!(error = %internal, "a request failed inside");
                Problem::internal()
            }
        }
    }
}

/// The store's messages continue "could not …" with a verb, or are sentences of their own.
fn could_not(message: &str) -> String {
    let first = message.split(' ').next().unwrap_or_default();
    if matches!(first, "a" | "an" | "the" | "there" | "this" | "only")
        || first.starts_with(|c: char| !c.is_ascii_lowercase())
    {
        message.to_owned()
    } else {
        format!("could not {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_both_kinds_become_sentences() {
        assert_eq!(could_not("save the route: it has no name"), "could not save the route: it has no name");
        assert_eq!(could_not("the campaign is draft"), "the campaign is draft");
    }

    #[test]
    fn what_broke_inside_is_not_told() {
        for error in [
            StoreError::Corrupt("column contact.mailbox holds planted@example.net".into()),
            StoreError::Fatal("disk".into()),
            StoreError::Sealed("planted".into()),
        ] {
            let problem = Problem::from(error);
            assert!(problem.status >= 500 && !problem.detail.contains("planted"), "{}", problem.detail);
        }
    }
}
