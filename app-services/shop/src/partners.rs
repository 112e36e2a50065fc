//! The local partners: those that the configuration names, at their ports of this machine.

use crate::commands::told_to_end;
use crate::config::Config;
use anyhow::{Context as _, Result, ensure};
use ringway_sdk::partner::PartnerSettings;
use ringway_sdk::partner::local::LocalPartner;
use shop_notification::LocalProvider;
use shop_payment::local::provider;
use shop_shipping::local::{carrier, keep_moving};
use std::path::Path;
use std::time::Duration;

/// A parcel is picked up so long after it was handed over, and arrives so long after that.
const MOVES_AFTER: Duration = Duration::from_secs(20);

/// Plays them until SIGTERM.
pub(crate) async fn play(config: &Config, journals: Option<&Path>) -> Result<()> {
    let section = |settings: &Option<PartnerSettings>, name: &str| {
        let missing = || format!("there is no section [{name}]");
        settings.clone().with_context(missing)
    };
    let (payment, shipping) = (
        section(&config.payment, "payment")?,
        section(&config.shipping, "shipping")?,
    );
    let letters = config
        .letters()
        .context("there is no section [notification.email]")?;
    let webhooks = |of: &str| format!("http://{}/api/v1/{of}/webhook", config.public);
    let remembering = |partner: LocalPartner, name: &str| match journals {
        None => Ok(partner),
        Some(folder) => partner
            .remembering(&folder.join(format!("{name}.journal")))
            .with_context(|| format!("{name}.journal in {}", folder.display())),
    };
    let payments = remembering(provider(payment.secret.clone(), webhooks("payments")), "payments")?;
    shop_payment::local::listen(&payments, local_port(&payment.url)?)
        .await
        .context("the payment provider")?;
    let carrier = remembering(
        carrier(shipping.secret.clone(), webhooks("shipments")),
        "shipments",
    )?;
    carrier
        .listen(local_port(&shipping.url)?, axum::Router::new())
        .await
        .context("the carrier")?;
    let moving = keep_moving(&carrier, MOVES_AFTER);
    let _letters = LocalProvider::listen(local_port(&letters.url)?)
        .await
        .context("who brings letters")?;
    tracing::info!("the local partners listen");
    tokio::select! {
        () = moving => {}
        ended = told_to_end() => ended?,
    }
    Ok(())
}

/// The port of a URL that names this machine.
pub(crate) fn local_port(url: &str) -> Result<u16> {
    let (host, port) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'))
        .with_context(|| format!("{url} is not http://HOST:PORT"))?;
    let is_here = ["127.0.0.1", "localhost"].contains(&host);
    ensure!(
        is_here,
        "{url} is not on this machine: nobody has to play that partner"
    );
    port.parse().with_context(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_partners_of_this_machine_are_played() {
        assert_eq!(local_port("http://127.0.0.1:8095").unwrap(), 8095);
        assert_eq!(local_port("http://localhost:8095/").unwrap(), 8095);
        for elsewhere in [
            "https://127.0.0.1:8095",
            "http://pay.example:443",
            "http://127.0.0.1",
            "http://localhost:x",
        ] {
            assert!(local_port(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
