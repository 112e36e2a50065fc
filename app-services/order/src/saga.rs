//! Carrying an order out, and undoing it: the steps, and the calls behind them.
//!
//! The first step does nothing: undoing it, which comes last, ends the order. The last but one confirms it, and from there on nothing is undone: the carrier picks
//! the parcel up, and couldn't give it back. What lies between takes something from another service, and
//! gives it back when undone, also if it was never taken: then it can't be taken later. Giving back the money refunds it if it was captured, and releasing stock
//! takes it back into the warehouse if it was committed, so that capturing and committing need no undoing of their own.

use crate::cancel::{CUSTOMER, STAFF};
use crate::order::State;
use crate::{Orders, Refusal};
use ringway_sdk::saga::{Call, Definition, Outcome, Step};
use ringway_sdk::web::Problem;
use ringway_sdk::{Context, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::events::{CancelledBy, OrderCancelled, OrderConfirmed};
use shop_contracts::rpc::v1::{self, commit_reply, payment_reply, reserve_reply, shipment_reply};
use shop_contracts::{Address, Money, Operation};
use std::time::Duration;
use uuid::Uuid;

const fn step(action: &'static str, undo: Option<&'static str>, seconds: u64, attempts: u32) -> Step {
    Step {
        action,
        undo,
        timeout: Duration::from_secs(seconds),
        attempts,
    }
}

/// From a placed order to a confirmed or a cancelled one.
pub const CHECKOUT: Definition = Definition {
    name: "checkout",
    steps: &[
        step("accept", Some("cancel"), 5, 5),
        step("score", None, 3, 5),
        step("reserve", Some("release"), 5, 5),
        step("authorise", Some("give-back"), 5, 8),
        step("ship", Some("recall"), 5, 8),
        step("capture", None, 5, 8),
        step("commit", None, 5, 8),
        step("confirm", None, 5, 20),
        step("hand-over", None, 5, u32::MAX),
    ],
};

/// From a confirmed order to a cancelled one: what the carrier has already is refused, and everything after is done until it works.
pub const CANCELLATION: Definition = Definition {
    name: "cancellation",
    steps: &[
        step("recall", None, 5, u32::MAX),
        step("give-back", None, 5, u32::MAX),
        step("release", None, 5, u32::MAX),
        step("cancel", None, 5, u32::MAX),
    ],
};

/// A refusal of payment's that means that the money is there already.
const CAPTURED: &str = "captured";

/// A refusal of shipping's that means that the shipment was taken back.
const RECALLED: &str = "cancelled";

const FAILED: &str =
    "UPDATE order_summary SET failure = coalesce(failure, $3) WHERE user_id = $1 AND order_id = $2";
const LABEL: &str = "UPDATE order_summary SET label = $3 WHERE user_id = $1 AND order_id = $2";
const STAYS: &str = "UPDATE order_summary SET cancel = NULL WHERE user_id = $1 AND order_id = $2";

/// What a saga is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) user_id: Uuid,
    pub(crate) order_id: Uuid,
    pub(crate) lines: Vec<(Uuid, u32)>,
    pub(crate) total: Money,
    pub(crate) address: Address,
    pub(crate) shipping_service: String,
    pub(crate) payment_token: String,
    pub(crate) weight_grams: u32,
}

impl Task {
    fn operation(&self, key: &str) -> Option<v1::Operation> {
        let operation = Operation {
            key: key.to_owned(),
            user_id: self.user_id,
            order_id: self.order_id,
        };
        Some(operation.into())
    }

    fn product_ids(&self) -> Vec<String> {
        self.lines
            .iter()
            .map(|(product, _)| product.to_string())
            .collect()
    }

    fn lines(&self) -> Vec<v1::Line> {
        let line = |(product, quantity): &(Uuid, u32)| v1::Line {
            product_id: product.to_string(),
            quantity: *quantity,
        };
        self.lines.iter().map(line).collect()
    }
}

impl Orders {
    /// One try of an action.
    pub(crate) async fn act(self, call: Call) -> Outcome {
        let task: Task = match serde_json::from_value(call.data.clone()) {
            Ok(task) => task,
            Err(error) => return Outcome::Again(format!("the saga's data can't be read: {error}")),
        };
        let outcome = self.carry_out(&call, &task).await;
        let outcome = outcome.unwrap_or_else(|refusal| match refusal {
            Refusal::Peer(problem) => problem.into(),
            ours => Problem::from(ours).into(),
        });
        let cancelling = call.saga == cancellation_id(task.order_id);
        // The carrier has given the parcel back, or the order is confirmed: there is no other way than on.
        let only_on = (cancelling && call.action != "recall") || call.action == "hand-over";
        match &outcome {
            Outcome::Refused(reason) if only_on => Outcome::Again(reason.clone()),
            Outcome::Refused(reason) => match self.failed(&call, &task, reason).await {
                Ok(()) => outcome,
                Err(refusal) => Outcome::Again(Problem::from(refusal).to_string()),
            },
            Outcome::Done | Outcome::Again(_) => outcome,
        }
    }

    async fn carry_out(&self, call: &Call, task: &Task) -> Result<Outcome, Refusal> {
        match call.action {
            "score" => self.score(call, task).await,
            "reserve" => self.reserve(call, task).await,
            "release" => {
                let asked = v1::ReleaseRequest {
                    operation: task.operation(&call.key),
                    product_ids: task.product_ids(),
                };
                self.calls.inventory(&call.context).release(asked).await?;
                Ok(Outcome::Done)
            }
            "authorise" => {
                let asked = v1::AuthoriseRequest {
                    operation: task.operation(&call.key),
                    amount: Some(task.total.into()),
                    payment_token: task.payment_token.clone(),
                };
                let reply = self.calls.payment(&call.context).authorise(asked).await?;
                Ok(paid(reply.into_inner()))
            }
            "capture" => {
                let operation = task.operation(&call.key);
                let asked = v1::CaptureRequest { operation };
                let reply = self.calls.payment(&call.context).capture(asked).await?;
                Ok(paid(reply.into_inner()))
            }
            "give-back" => self.give_back(call, task).await,
            "ship" => self.ship(call, task).await,
            "hand-over" => {
                let operation = task.operation(&call.key);
                let asked = v1::HandOverRequest { operation };
                let reply = self.calls.shipping(&call.context).hand_over(asked).await?;
                Ok(match shipped(&reply.into_inner()) {
                    // By the customer, after the confirmation: there is nothing to send any more.
                    Outcome::Refused(reason) if reason == RECALLED => Outcome::Done,
                    other => other,
                })
            }
            "recall" => {
                let operation = task.operation(&call.key);
                let asked = v1::CancelShipmentRequest { operation };
                let reply = self.calls.shipping(&call.context).cancel(asked).await?;
                Ok(shipped(&reply.into_inner()))
            }
            "commit" => self.commit(call, task).await,
            "confirm" => self.confirm(&call.context, task).await,
            "cancel" => self.cancelled(&call.context, task).await,
            "accept" => Ok(Outcome::Done),
            other => Ok(Outcome::Again(format!("the action {other} is unknown"))),
        }
    }

    async fn score(&self, call: &Call, task: &Task) -> Result<Outcome, Refusal> {
        let asked = v1::GetUserRequest {
            user_id: task.user_id.to_string(),
        };
        let user = self.calls.user(&call.context).get(asked).await?.into_inner();
        let asked = v1::ScoreRequest {
            operation: task.operation(&call.key),
            total: Some(task.total.into()),
            lines: task.lines(),
            payment_token: task.payment_token.clone(),
            shipping_country: task.address.country.clone(),
            client_address: String::new(),
            registered_at_ms: user.registered_at_ms,
        };
        let reply = self.calls.fraud(&call.context).score(asked).await?.into_inner();
        Ok(match reply.decision() {
            v1::Decision::Approve | v1::Decision::Review => Outcome::Done,
            v1::Decision::Decline => Outcome::Refused("fraud-suspected".to_owned()),
            v1::Decision::Unspecified => Outcome::Again("fraud has not decided".to_owned()),
        })
    }

    async fn reserve(&self, call: &Call, task: &Task) -> Result<Outcome, Refusal> {
        let asked = v1::ReserveRequest {
            operation: task.operation(&call.key),
            lines: task.lines(),
        };
        let reply = self.calls.inventory(&call.context).reserve(asked).await?;
        Ok(match reply.into_inner().outcome {
            Some(reserve_reply::Outcome::Reserved(_)) => Outcome::Done,
            Some(reserve_reply::Outcome::Refused(refused)) => Outcome::Refused(refused.reason),
            None => silent(),
        })
    }

    async fn commit(&self, call: &Call, task: &Task) -> Result<Outcome, Refusal> {
        let asked = v1::CommitRequest {
            operation: task.operation(&call.key),
            product_ids: task.product_ids(),
        };
        let reply = self.calls.inventory(&call.context).commit(asked).await?;
        Ok(match reply.into_inner().outcome {
            Some(commit_reply::Outcome::Committed(_)) => Outcome::Done,
            Some(commit_reply::Outcome::Refused(refused)) => Outcome::Refused(refused.reason),
            None => silent(),
        })
    }

    /// Gives up what is held; what was taken already is refunded.
    async fn give_back(&self, call: &Call, task: &Task) -> Result<Outcome, Refusal> {
        let operation = task.operation(&call.key);
        let asked = v1::VoidRequest { operation };
        let reply = self.calls.payment(&call.context).void(asked).await?.into_inner();
        match &reply.outcome {
            Some(payment_reply::Outcome::Refused(refused)) if refused.reason == CAPTURED => {}
            _ => return Ok(paid(reply)),
        }
        let asked = v1::RefundRequest {
            operation: task.operation(&format!("{}/refund", call.key)),
            amount: None,
        };
        let reply = self.calls.payment(&call.context).refund(asked).await?;
        Ok(paid(reply.into_inner()))
    }

    async fn ship(&self, call: &Call, task: &Task) -> Result<Outcome, Refusal> {
        let asked = v1::CreateShipmentRequest {
            operation: task.operation(&call.key),
            address: Some(task.address.clone().into()),
            weight_grams: task.weight_grams,
            service: task.shipping_service.clone(),
            currency: task.total.currency.to_string(),
        };
        let reply = self
            .calls
            .shipping(&call.context)
            .create(asked)
            .await?
            .into_inner();
        if let Some(shipment_reply::Outcome::Shipment(shipment)) = &reply.outcome {
            self.note(&call.context, LABEL, task, Some(&shipment.label))
                .await?;
        }
        Ok(shipped(&reply))
    }

    /// The last step: from here on the order is a promise. Refused if a cancellation came before.
    async fn confirm(&self, context: &Context, task: &Task) -> Result<Outcome, Refusal> {
        let ids = (task.user_id, task.order_id);
        let work = async |tx: Transaction| {
            let locked = self.lock(&tx, task.user_id, task.order_id).await?;
            match (locked.state(), &locked.order.state.placed, &locked.cancel) {
                (State::Confirmed | State::Shipped | State::Delivered, ..) => Ok(()),
                (State::Placed, Some(placed), None) => {
                    let confirmed = OrderConfirmed {
                        order_id: task.order_id,
                        user_id: task.user_id,
                        region: placed.region.clone(),
                        lines: placed.lines.clone(),
                        total: placed.total,
                        label: locked.label.clone().unwrap_or_default(),
                    };
                    let happened = self.happened(&tx, ids, &locked.order, confirmed.into());
                    happened.await.map(drop)
                }
                _ => Err(Refusal::CancelledMeanwhile),
            }
        };
        self.database.transaction(context, work).await?;
        Ok(Outcome::Done)
    }

    /// The end of an order that will not be carried out: all that was taken is given back.
    async fn cancelled(&self, context: &Context, task: &Task) -> Result<Outcome, Refusal> {
        let ids = (task.user_id, task.order_id);
        let work = async |tx: Transaction| {
            let locked = self.lock(&tx, task.user_id, task.order_id).await?;
            if locked.state() == State::Cancelled {
                return Ok(());
            }
            let (by, reason) = match locked.cancel.as_deref() {
                Some(CUSTOMER) => (CancelledBy::Customer, "cancelled".to_owned()),
                Some(STAFF) => (CancelledBy::Staff, "cancelled".to_owned()),
                _ => {
                    let failure = locked.failure.clone();
                    (
                        CancelledBy::Shop,
                        failure.unwrap_or_else(|| "step-failed".to_owned()),
                    )
                }
            };
            let cancelled = OrderCancelled {
                order_id: task.order_id,
                user_id: task.user_id,
                by,
                reason,
                total: task.total,
            };
            let happened = self.happened(&tx, ids, &locked.order, cancelled.into());
            happened.await.map(drop)
        };
        self.database
            .transaction::<(), Refusal, _, _>(context, work)
            .await?;
        Ok(Outcome::Done)
    }

    /// A step was refused: the first reason is the order's. A cancellation that the carrier refuses leaves the order as it is.
    async fn failed(&self, call: &Call, task: &Task, reason: &str) -> Result<(), Refusal> {
        if call.saga == cancellation_id(task.order_id) {
            return self.note(&call.context, STAYS, task, None).await;
        }
        self.note(&call.context, FAILED, task, Some(reason)).await
    }

    async fn note(
        &self,
        context: &Context,
        sql: &'static str,
        task: &Task,
        text: Option<&str>,
    ) -> Result<(), Refusal> {
        let work = async |tx: Transaction| match &text {
            Some(text) => tx.execute(sql, &[&task.user_id, &task.order_id, text]).await,
            None => tx.execute(sql, &[&task.user_id, &task.order_id]).await,
        };
        self.database
            .transaction::<u64, ringway_sdk::Error, _, _>(context, work)
            .await?;
        Ok(())
    }
}

/// The id of the saga that cancels a confirmed order.
pub(crate) fn cancellation_id(order_id: Uuid) -> String {
    format!("{order_id}/cancellation")
}

fn silent() -> Outcome {
    Outcome::Again("the answer is empty".to_owned())
}

fn paid(reply: v1::PaymentReply) -> Outcome {
    match reply.outcome {
        Some(payment_reply::Outcome::Payment(_)) => Outcome::Done,
        Some(payment_reply::Outcome::Refused(refused)) => Outcome::Refused(refused.reason),
        Some(payment_reply::Outcome::Pending(pending)) => Outcome::Again(pending.detail),
        None => silent(),
    }
}

fn shipped(reply: &v1::ShipmentReply) -> Outcome {
    match &reply.outcome {
        Some(shipment_reply::Outcome::Shipment(_)) => Outcome::Done,
        Some(shipment_reply::Outcome::Refused(refused)) => Outcome::Refused(refused.reason.clone()),
        Some(shipment_reply::Outcome::Pending(pending)) => Outcome::Again(pending.detail.clone()),
        None => silent(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_print_as_tables() {
        let tables = format!("{CHECKOUT}\n{CANCELLATION}");
        println!("{tables}");
        let expected = "\
saga checkout
step do               undo              timeout attempts
0    accept           cancel                 5s        5
1    score            -                      3s        5
2    reserve          release                5s        5
3    authorise        give-back              5s        8
4    ship             recall                 5s        8
5    capture          -                      5s        8
6    commit           -                      5s        8
7    confirm          -                      5s       20
8    hand-over        -                      5s 4294967295

saga cancellation
step do               undo              timeout attempts
0    recall           -                      5s 4294967295
1    give-back        -                      5s 4294967295
2    release          -                      5s 4294967295
3    cancel           -                      5s 4294967295
";
        assert_eq!(tables, expected);
    }
}
