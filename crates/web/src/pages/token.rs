//! From the token of a URL to its workspace and ids. Everything that is not exactly a token of ours is `None`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_domain::id::WorkspaceId;
use postrider_mail::token::{HostedToken, LinkKeys, OptOutToken};
use postrider_store::StoreError;
use postrider_store::workspace::Workspace;

use crate::Web;
use crate::problem::Problem;

/// The workspace that a token claims, unverified: it only says whose keys to check the token with. Kind byte, key id,
/// then the workspace as a little-endian base-128 number, as `postrider_mail::token` writes it.
fn claimed_workspace(token: &str) -> Option<WorkspaceId> {
    if token.len() > 128 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let mut id: u64 = 0;
    for (at, byte) in bytes.get(2..)?.iter().take(10).enumerate() {
        id |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(at).ok()?)?;
        if byte & 0x80 == 0 {
            return i64::try_from(id).ok().map(WorkspaceId);
        }
    }
    None
}

async fn keys(web: &Web, token: &str) -> Result<Option<(WorkspaceId, LinkKeys)>, Problem> {
    let Some(workspace) = claimed_workspace(token) else { return Ok(None) };
    match web.store().link_keys(workspace).await {
        Ok(keys) => Ok(Some((workspace, keys))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What an opt-out token says, and the workspace that it belongs to.
///
/// # Errors
/// The database fails; a token that is not ours is `None`.
pub async fn opt_out(web: &Web, token: &str) -> Result<Option<(Workspace, OptOutToken)>, Problem> {
    let Some((workspace, keys)) = keys(web, token).await? else { return Ok(None) };
    match OptOutToken::decode(token, &keys) {
        Some(facts) if facts.workspace == workspace.get() => Ok(Some((web.store().workspace(workspace).await?, facts))),
        Some(_) | None => Ok(None),
    }
}

/// As [`opt_out`], for hosted copies.
///
/// # Errors
/// The database fails.
pub async fn hosted(web: &Web, token: &str) -> Result<Option<(Workspace, HostedToken)>, Problem> {
    let Some((workspace, keys)) = keys(web, token).await? else { return Ok(None) };
    match HostedToken::decode(token, &keys) {
        Some(facts) if facts.workspace == workspace.get() => Ok(Some((web.store().workspace(workspace).await?, facts))),
        Some(_) | None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_mail::token::LinkKey;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_workspace_is_read_from_any_token_of_ours(workspace in 0i64..i64::MAX, contact in any::<i64>(), id in any::<u8>()) {
            let key = LinkKey::new(id, &[7; 32]);
            let token = OptOutToken { workspace, contact, purpose: 3, delivery: 4 }.encode(&key);
            prop_assert_eq!(claimed_workspace(&token), Some(WorkspaceId(workspace)));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = claimed_workspace(&text);
        }
    }
}
