//! Where something is sent to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A postal address.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Who lives there.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Street and number.
    #[schema(min_length = 1, max_length = 200)]
    pub line1: String,
    /// What else has to be said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 200)]
    pub line2: String,
    /// As it is written there.
    #[schema(max_length = 20)]
    pub postal_code: String,
    /// City or place.
    #[schema(min_length = 1, max_length = 200)]
    pub city: String,
    /// State or province, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 200)]
    pub region: String,
    /// ISO 3166, two letters.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub country: String,
}

impl Address {
    /// Whether all that is needed is there, within its bounds.
    pub fn is_complete(&self) -> bool {
        let filled = [&self.name, &self.line1, &self.city];
        let short = [&self.name, &self.line1, &self.line2, &self.city, &self.region];
        let country = self.country.len() == 2 && self.country.bytes().all(|b| b.is_ascii_uppercase());
        filled.iter().all(|text| !text.trim().is_empty())
            && short.iter().all(|text| text.len() <= 200)
            && self.postal_code.len() <= 20
            && country
    }
}
