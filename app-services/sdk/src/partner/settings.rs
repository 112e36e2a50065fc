//! Which partner, and how it is asked.

use super::desk::DeskSettings;
use super::http::{HttpPartner, Secret};
use serde::Deserialize;
use std::time::Duration;

/// A partner, as a configuration names it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerSettings {
    /// Its address.
    pub url: String,
    /// What it knows us by, and signs its webhooks with.
    pub secret: Secret,
    /// Its answer is waited for so long.
    #[serde(default = "PartnerSettings::default_answer_ms")]
    pub answer_ms: u32,
    /// The longest pause between two questions for an errand that is open.
    #[serde(default = "PartnerSettings::default_ask_again_ms")]
    pub ask_again_ms: u32,
}

impl PartnerSettings {
    fn default_answer_ms() -> u32 {
        4_000
    }

    fn default_ask_again_ms() -> u32 {
        30_000
    }

    /// The partner at an address, asked as by default.
    pub fn new(url: &str, secret: Secret) -> Self {
        Self {
            url: url.to_owned(),
            secret,
            answer_ms: Self::default_answer_ms(),
            ask_again_ms: Self::default_ask_again_ms(),
        }
    }

    /// The partner.
    pub fn partner(&self) -> HttpPartner {
        let bound = Duration::from_millis(self.answer_ms.into());
        HttpPartner::new(&self.url, self.secret.clone(), bound)
    }

    /// A desk for it: an errand is left to its call for a little longer than the answer is waited for.
    pub fn desk(&self) -> DeskSettings {
        let answer = Duration::from_millis(self.answer_ms.into());
        let longest = Duration::from_millis(self.ask_again_ms.into());
        DeskSettings {
            grace: answer + answer / 4,
            poll: Duration::from_millis(500).min(longest / 4),
            longest,
        }
    }
}
