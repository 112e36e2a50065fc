//! What was done lately, in Redis: a sorted set for each user and window, with a member for each thing that happened, by its time.
//!
//! An order's member is its id and amount, however often it is told of; what is older than the window is taken out when something is added.

use crate::rules::Recent;
use redis::Pipeline;
use ringway_sdk::events::{Event, Failure};
use ringway_sdk::{NearRedis, Result};
use shop_contracts::events::{FraudEvent, Message};
use std::time::Duration;
use uuid::Uuid;

/// For one answer; Redis stands in the region.
const ANSWER_BOUND: Duration = Duration::from_millis(150);

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const QUARTER_MS: i64 = HOUR_MS / 4;

/// The most members of a set: what comes on top changes no verdict.
const MOST: isize = 500;

/// The windows of a region. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Windows(Option<NearRedis>);

/// An order, as it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ordered<'a> {
    /// The order.
    pub order_id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What it comes to.
    pub cents: i64,
    /// Where it came from; empty if unknown.
    pub address: &'a str,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

fn orders_key(user_id: Uuid) -> String {
    format!("fraud:orders:{user_id}")
}

fn sign_ins_key(user_id: Uuid) -> String {
    format!("fraud:failed:{user_id}")
}

fn address_key(address: &str) -> String {
    format!("fraud:from:{address}")
}

/// Adds a member, takes out what is too old, bounds the set and its life.
fn add(pipe: &mut Pipeline, key: &str, member: &str, at_ms: i64, window_ms: i64) {
    pipe.zadd(key, member, at_ms).ignore();
    pipe.zrembyscore(key, "-inf", at_ms - window_ms).ignore();
    pipe.zremrangebyrank(key, 0, -MOST - 1).ignore();
    pipe.pexpire(key, window_ms).ignore();
}

fn add_order(pipe: &mut Pipeline, user_id: Uuid, order_id: Uuid, cents: i64, at_ms: i64) {
    let member = format!("{order_id}/{cents}");
    add(pipe, &orders_key(user_id), &member, at_ms, DAY_MS);
}

impl Windows {
    /// The windows in the Redis at a URL; without one nothing is known. Connects when it is first used.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(url: Option<&str>) -> Result<Self> {
        let redis = url.map(|url| NearRedis::new(url, ANSWER_BOUND));
        redis.transpose().map(Self)
    }

    async fn ask<T: redis::FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, String> {
        let redis = self.0.as_ref().ok_or("there is no Redis")?;
        redis.ask(pipe).await.map_err(|error| error.to_string())
    }

    /// Counts an order, and says what was done lately, with it; none if Redis doesn't answer.
    pub async fn count_order(&self, order: &Ordered<'_>) -> Option<Recent> {
        let Ordered {
            order_id,
            user_id,
            cents,
            address,
            at_ms,
        } = *order;
        let mut pipe = redis::pipe();
        pipe.atomic();
        add_order(&mut pipe, user_id, order_id, cents, at_ms);
        let from = address_key(address);
        if !address.is_empty() {
            add(&mut pipe, &from, &order_id.to_string(), at_ms, HOUR_MS);
        }
        pipe.zrangebyscore_withscores(orders_key(user_id), at_ms - DAY_MS, "+inf");
        pipe.zcount(sign_ins_key(user_id), at_ms - QUARTER_MS, "+inf");
        pipe.zcount(&from, at_ms - HOUR_MS, "+inf");
        let asked = self.ask::<(Vec<(String, i64)>, u32, u32)>(&pipe).await;
        let (orders, failed_sign_ins, address_orders) = match asked {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(error, "what was done lately is not known");
                return None;
            }
        };
        let cents = |member: &str| {
            member
                .rsplit('/')
                .next()
                .and_then(|cents| cents.parse::<i64>().ok())
        };
        let lately = orders.iter().filter(|(_, at)| *at >= at_ms - HOUR_MS).count();
        Some(Recent {
            orders: u32::try_from(lately).unwrap_or(u32::MAX),
            cents: orders
                .iter()
                .filter_map(|(member, _)| cents(member))
                .fold(0, i64::saturating_add),
            address_orders,
            failed_sign_ins,
        })
    }

    /// Counts what an event tells of. What was counted is counted no second time.
    ///
    /// # Errors
    /// Redis doesn't answer: it is tried later.
    pub(crate) async fn count_event(&self, event: &Event) -> Result<(), Failure> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        match FraudEvent::of(event)? {
            FraudEvent::SignInTried(tried) if !tried.succeeded => {
                let key = sign_ins_key(tried.user_id);
                add(&mut pipe, &key, &event.id.to_string(), event.time_ms, QUARTER_MS);
            }
            FraudEvent::Scored(scored) => {
                let cents = scored.amount.amount_cents;
                add_order(&mut pipe, scored.user_id, scored.order_id, cents, event.time_ms);
            }
            FraudEvent::SignInTried(_) | FraudEvent::Reviewed(_) => return Ok(()),
        }
        self.ask::<()>(&pipe).await.map_err(Failure::Later)
    }
}
