//! What the gateway says that can be asked is what its services say.

use crate::room::Room;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Schemas that every service has.
const SHARED: [&str; 1] = ["Problem"];

/// The documents of all services are put together without one's schema in another's place, and every reference leads somewhere.
pub(crate) async fn are_one(room: &Room) -> Result<()> {
    let [gateway, _] = room.gateways();
    let answer = reqwest::get(format!("{gateway}/api/openapi.json")).await?;
    let all: Value = answer.error_for_status()?.json().await?;
    let schemas = |document: &Value| document["components"]["schemas"].as_object().cloned();
    let together = schemas(&all).context("there are no schemas")?;
    let mut expected = SHARED.len();
    for (service, document) in &room.documents {
        for (name, schema) in schemas(document).unwrap_or_default() {
            if SHARED.contains(&&*name) {
                continue;
            }
            expected += 1;
            let kept = together.get(&format!("{service}.{name}"));
            let kept = kept.with_context(|| format!("{service}'s {name} is not there"))?;
            ensure!(kept["type"] == schema["type"], "{service}'s {name} is another");
        }
    }
    ensure!(together.len() == expected, "schemas of nobody");
    let mut open = vec![&all];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(values) => open.extend(values),
            Value::String(text) => {
                if let Some(pointer) = text.strip_prefix("#/components/") {
                    let target = all.pointer(&format!("/components/{pointer}"));
                    ensure!(target.is_some(), "{text} leads nowhere");
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    Ok(())
}
