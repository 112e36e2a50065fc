//! What is suspicious: pure. A new rule is a condition in `points`.

use serde::Deserialize;
use shop_contracts::events::{ScoreReason, Verdict};
use std::time::Duration;

/// No score is higher.
pub const MOST: u32 = 100;

/// From what on something is suspicious.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Orders of a user within an hour, with this one.
    pub orders_per_hour: u32,
    /// What a user orders for within a day, with this order.
    pub cents_per_day: i64,
    /// Orders from one address within an hour, with this one.
    pub address_orders_per_hour: u32,
    /// Sign-ins with a wrong password within a quarter of an hour.
    pub failed_sign_ins: u32,
    /// An order that is large.
    pub large_cents: i64,
    /// A user who registered less than this many seconds ago is new.
    pub new_user_seconds: u32,
    /// An order that is large for a new user.
    pub large_for_new_cents: i64,
    /// So many of one product are more than anybody needs.
    pub bulk: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            orders_per_hour: 6,
            cents_per_day: 300_000,
            address_orders_per_hour: 30,
            failed_sign_ins: 5,
            large_cents: 150_000,
            new_user_seconds: 3_600,
            large_for_new_cents: 30_000,
            bulk: 50,
        }
    }
}

/// What was done lately.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recent {
    /// Orders of the user within an hour, with this one.
    pub orders: u32,
    /// What the user has ordered for within a day, with this order.
    pub cents: i64,
    /// Orders from the address within an hour, with this one.
    pub address_orders: u32,
    /// Sign-ins with a wrong password within a quarter of an hour.
    pub failed_sign_ins: u32,
}

/// What is known of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// What it comes to.
    pub cents: i64,
    /// The most of one product.
    pub most_of_one: u32,
    /// How long ago the user registered, if that is known.
    pub user_age: Option<Duration>,
    /// What was done lately; none if Redis doesn't answer.
    pub recent: Option<Recent>,
}

/// A score with its reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Score {
    /// 0 (harmless) to 100.
    pub points: u32,
    /// What follows.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<ScoreReason>,
}

fn reason(rule: &str, points: u32, detail: String) -> ScoreReason {
    ScoreReason {
        rule: rule.to_owned(),
        points,
        detail,
    }
}

/// What each rule says.
fn points(limits: &Limits, facts: &Facts) -> Vec<ScoreReason> {
    let mut found = Vec::new();
    let mut add = |rule, points, detail| found.push(reason(rule, points, detail));
    let cents = facts.cents;
    if cents >= limits.large_cents {
        add("large-order", 25, format!("{cents} cents"));
    }
    let age = facts.user_age.map(|age| age.as_secs());
    let is_new = |age: &u64| *age < limits.new_user_seconds.into();
    if let Some(age) = age.filter(is_new)
        && cents >= limits.large_for_new_cents
    {
        add("new-user", 30, format!("{cents} cents, registered {age} s ago"));
    }
    let bulk = facts.most_of_one;
    if bulk >= limits.bulk {
        add("bulk", 20, format!("{bulk} of one product"));
    }
    let Some(recent) = facts.recent else { return found };
    let (orders, many) = (recent.orders, limits.orders_per_hour);
    if orders > many {
        add("many-orders", 40, format!("{orders} orders within an hour"));
    }
    if orders > many.saturating_mul(2) {
        add("very-many-orders", 40, format!("more than twice {many}"));
    }
    if recent.cents > limits.cents_per_day {
        add("much-spent", 30, format!("{} cents within a day", recent.cents));
    }
    let from_there = recent.address_orders;
    if from_there > limits.address_orders_per_hour {
        let detail = format!("{from_there} orders from there within an hour");
        add("busy-address", 30, detail);
    }
    let failed = recent.failed_sign_ins;
    if failed >= limits.failed_sign_ins {
        add(
            "failed-sign-ins",
            40,
            format!("{failed} within a quarter of an hour"),
        );
    }
    found
}

/// Scores an order.
pub fn score(settings: &crate::Settings, facts: &Facts) -> Score {
    let mut reasons = points(&settings.limits, facts);
    let points = reasons.iter().map(|reason| reason.points).sum::<u32>().min(MOST);
    let blind = facts.recent.is_none();
    if blind {
        reasons.push(reason(
            "recent-unknown",
            0,
            "what was done lately is not known".to_owned(),
        ));
    }
    let verdict = match points {
        _ if blind && facts.cents >= settings.closed_from_cents => Verdict::Decline,
        points if points >= settings.decline_from => Verdict::Decline,
        points if points >= settings.review_from => Verdict::Review,
        _ => Verdict::Approve,
    };
    Score {
        points,
        verdict,
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use proptest::prelude::*;

    fn any_facts() -> impl Strategy<Value = Facts> {
        let recent = (0..30_u32, 0..900_000_i64, 0..90_u32, 0..9_u32).prop_map(
            |(orders, cents, address_orders, failed_sign_ins)| Recent {
                orders,
                cents,
                address_orders,
                failed_sign_ins,
            },
        );
        (
            0..400_000_i64,
            0..99_u32,
            prop::option::of(0..9_000_u64),
            prop::option::of(recent),
        )
            .prop_map(|(cents, most_of_one, age, recent)| Facts {
                cents,
                most_of_one,
                user_age: age.map(Duration::from_secs),
                recent,
            })
    }

    fn rank(verdict: Verdict) -> u8 {
        match verdict {
            Verdict::Approve => 0,
            Verdict::Review => 1,
            Verdict::Decline => 2,
        }
    }

    proptest! {
        #[test]
        fn more_of_anything_is_never_less_suspicious(facts in any_facts(), more in 1..50_u32) {
            let settings = Settings::default();
            let before = score(&settings, &facts);
            let mut worse = vec![
                Facts { cents: facts.cents + i64::from(more) * 10_000, ..facts },
                Facts { most_of_one: facts.most_of_one + more, ..facts },
            ];
            if let Some(recent) = facts.recent {
                worse.push(Facts { recent: Some(Recent { orders: recent.orders + more, ..recent }), ..facts });
                worse.push(Facts { recent: Some(Recent { failed_sign_ins: recent.failed_sign_ins + more, ..recent }), ..facts });
            }
            for facts in worse {
                let after = score(&settings, &facts);
                prop_assert!(after.points >= before.points);
                prop_assert!(rank(after.verdict) >= rank(before.verdict));
            }
        }

        #[test]
        fn points_have_reasons(facts in any_facts()) {
            let score = score(&Settings::default(), &facts);
            let sum: u32 = score.reasons.iter().map(|reason| reason.points).sum();
            prop_assert_eq!(score.points, sum.min(MOST));
            prop_assert!(score.verdict == Verdict::Approve || !score.reasons.is_empty());
        }
    }

    #[test]
    fn without_redis_it_fails_open_below_an_amount_and_closed_from_there() {
        let settings = Settings::default();
        let of = |cents| {
            score(
                &settings,
                &Facts {
                    cents,
                    ..Facts::default()
                },
            )
            .verdict
        };
        assert_eq!(of(settings.closed_from_cents - 1), Verdict::Approve);
        assert_eq!(of(settings.closed_from_cents), Verdict::Decline);
    }
}
