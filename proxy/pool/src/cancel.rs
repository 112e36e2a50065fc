//! Cancel requests: a connection of their own that carries nothing else.

use std::time::Duration;

use wire::CancelKey;
use wire::startup::encode_cancel;

use crate::connect::open;
use crate::error::ConnectError;
use crate::target::BackendTarget;

/// The bound of a whole cancel request, from connecting to the server's close.
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the server at `target` to cancel what the backend with `key` does, and waits until the server has taken notice (it closes the
/// connection then). Servers never say whether a cancel had an effect.
///
/// # Errors
/// A server that can't be reached, or that takes longer than [`CANCEL_TIMEOUT`].
pub async fn cancel(target: &BackendTarget, key: &CancelKey) -> Result<(), ConnectError> {
    let sending = Box::pin(async {
        let mut stream = open(target).await?;
        let mut packet = Vec::new();
        encode_cancel(&mut packet, key);
        stream
            .write_all(&packet)
            .await
            .map_err(ConnectError::Unreachable)?;
        // The close may come as a reset or, on TLS, without close_notify: it is the sign that the request was processed all the same.
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        Ok(())
    });
    match tokio::time::timeout(CANCEL_TIMEOUT, sending).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Timeout(CANCEL_TIMEOUT)),
    }
}
