//! Work that blocks, away from the threads that must not wait.

use crate::error::SourceError;

/// Does it; `reason` is that of the error if the work breaks off.
pub(crate) async fn aside<T: Send + 'static>(
    reason: &'static str,
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SourceError::retry(
            reason,
            format!("the work was broken off: {error}"),
        )),
    }
}
