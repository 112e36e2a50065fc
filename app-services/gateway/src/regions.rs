//! Which regions there are: for clients that want to go on in another one.

use crate::Gateway;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;

/// This gateway's region, and the gateways of all.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Regions {
    /// The region that answers.
    pub(crate) here: String,
    /// Addresses by region, as they are configured.
    pub(crate) gateways: BTreeMap<String, String>,
}

/// `GET /api/regions`
pub(crate) async fn show(State(gateway): State<Gateway>) -> Json<Regions> {
    Json(gateway.0.regions.clone())
}
