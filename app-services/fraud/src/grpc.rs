//! Inside: what the order service asks.

use crate::Fraud;
use crate::scoring::Suspect;
use ringway_sdk::rpc::{Request, Response, Status, open};
use shop_contracts::events::Verdict;
use shop_contracts::rpc::v1::{self, fraud_server};
use shop_contracts::{Malformed, Money, Operation};

/// The longest address that is counted by, in bytes.
const MAX_ADDRESS: usize = 64;

#[tonic::async_trait]
impl fraud_server::Fraud for Fraud {
    async fn score(&self, request: Request<v1::ScoreRequest>) -> Result<Response<v1::ScoreReply>, Status> {
        let (context, asked) = open(request)?;
        if asked.client_address.len() > MAX_ADDRESS {
            return Err(Malformed("client_address").into());
        }
        let suspect = Suspect {
            operation: Operation::try_from(asked.operation)?,
            total: Money::try_from(asked.total.ok_or(Malformed("total"))?)?,
            most_of_one: asked
                .lines
                .iter()
                .map(|line| line.quantity)
                .max()
                .unwrap_or_default(),
            address: asked.client_address,
            registered_at_ms: Some(asked.registered_at_ms).filter(|at| *at > 0),
        };
        let scored = Self::score(self, &context, &suspect).await?;
        let decision = match scored.verdict {
            Verdict::Approve => v1::Decision::Approve,
            Verdict::Review => v1::Decision::Review,
            Verdict::Decline => v1::Decision::Decline,
        };
        let reasons = scored.reasons.into_iter().map(|reason| v1::ScoreReason {
            rule: reason.rule,
            points: reason.points,
            detail: reason.detail,
        });
        Ok(Response::new(v1::ScoreReply {
            decision: decision.into(),
            score: scored.score,
            reasons: reasons.collect(),
        }))
    }
}
