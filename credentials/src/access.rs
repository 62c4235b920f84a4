//! Who was let in lately, and need not ask again.

use std::time::Duration;

use ucr_images::Store;
use ucr_images::registries::Place;
use ucr_images::store::{self, Claim};

use crate::error::Error;
use crate::sources::CredentialSource;

/// Why it cannot be told who was let in.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A place where credentials are kept.
    #[error(transparent)]
    Credentials(#[from] Error),
    /// The store, which remembers it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Whether one of these places has let somebody in within the last `ttl` for the credential that
/// is found for it now.
///
/// # Errors
/// When a place where credentials are kept, or the store, cannot be read.
pub fn was_let_in(
    store: &Store,
    places: &[Place],
    credentials: &dyn CredentialSource,
    ttl: Duration,
) -> Result<bool, AccessError> {
    for Place { host, repository } in places {
        let Some(found) = credentials.find(host, repository)? else {
            continue;
        };
        let claim = Claim {
            registry: &host.to_string(),
            repository,
            credential: &found.credential,
        };
        if store.remembers(&claim, ttl)? {
            return Ok(true);
        }
    }
    Ok(false)
}
