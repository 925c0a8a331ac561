//! Passwords: argon2id, hashed away from the async threads and at most one per core at a time (SEC-81).
//!
//! Must not know accounts or SQL.

use std::sync::LazyLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::error::{Result, StoreError};
use crate::read::refused;
use crate::secret::Secret;

/// Shortest password in characters.
pub const PASSWORD_MIN: usize = 12;
/// Longest password in bytes; more would only cost time.
pub const PASSWORD_MAX: usize = 1024;

/// One permit per core of the process: a storm of log-ins may not take the threads away from sending.
static PERMITS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)));

/// The PHC string of a password, with a fresh salt.
pub(crate) async fn hash(password: &Secret) -> Result<String> {
    check(password.reveal())?;
    let password = password.clone();
    apart(move || {
        let hash: PasswordHash = hasher()?.hash_password(password.reveal().as_bytes()).map_err(|_| failed())?;
        Ok(hash.to_string())
    })
    .await
}

/// Whether the password belongs to the hash. Without a hash the same time is spent and the answer is no, so that
/// nobody learns from the clock which accounts exist.
pub(crate) async fn verify(password: &Secret, hash: Option<String>) -> Result<bool> {
    if password.reveal().len() > PASSWORD_MAX {
        return Ok(false);
    }
    let password = password.clone();
    apart(move || {
        let Some(hash) = hash else {
            let _same_work: PasswordHash =
                hasher()?.hash_password(password.reveal().as_bytes()).map_err(|_| failed())?;
            return Ok(false);
        };
        let hash = PasswordHash::new(&hash)
            .map_err(|_| StoreError::Corrupt("column password_hash holds no PHC string".into()))?;
        Ok(hasher()?.verify_password(password.reveal().as_bytes(), &hash).is_ok())
    })
    .await
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let _permit = PERMITS.acquire().await.expect("the semaphore is never closed");
    tokio::task::spawn_blocking(work).await.map_err(|_| failed())?
}

/// argon2id with 19 MiB, two passes, one lane: the lowest setting that OWASP names, about 40 ms of one core.
fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|_| failed())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn check(password: &str) -> Result<()> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(refused(format!("set the password: use at least {PASSWORD_MIN} characters")));
    }
    if password.len() > PASSWORD_MAX {
        return Err(refused(format!("set the password: use at most {PASSWORD_MAX} bytes")));
    }
    Ok(())
}

fn failed() -> StoreError {
    StoreError::Sealed("hash the password: the machine is out of memory or random numbers; try again".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let right = Secret::new("correct horse battery".into());
        let phc = hash(&right).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify(&right, Some(phc.clone())).await.unwrap());
        assert!(!verify(&Secret::new("correct horse batterx".into()), Some(phc)).await.unwrap());
        assert!(!verify(&right, None).await.unwrap());
        assert!(hash(&Secret::new("short".into())).await.is_err());
    }
}
