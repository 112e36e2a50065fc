//! The other services, as far as orders see them: each takes effect once for an operation's key, and refuses what a test says.

use anyhow::Result;
use ringway_sdk::rpc::{Request, Response, Status, open};
use ringway_sdk::service::{Environment, Service};
use ringway_sdk::{KeyType, Store};
use shop_contracts::rpc::v1::{self, *};
use shop_contracts::{Currency, Money, Operation};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use uuid::Uuid;

/// What is refused of orders with a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refuse {
    Score,
    Reserve,
    Authorise,
    Ship,
    Capture,
    Commit,
    Recall,
    /// It is done, and not answered.
    AnswerToShip,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stock {
    #[default]
    None,
    Reserved,
    Sold,
    Released,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Paid {
    #[default]
    None,
    Held,
    Captured,
    GivenBack,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Sent {
    #[default]
    None,
    UnderWay,
    Recalled,
}

/// What the services have of an order.
#[derive(Clone, Debug, Default)]
struct Order {
    stock: Stock,
    paid: Paid,
    sent: Sent,
    refuse: Option<Refuse>,
    calls: BTreeMap<&'static str, u32>,
}

#[derive(Debug, Default)]
struct Inner {
    orders: BTreeMap<Uuid, Order>,
    refused: BTreeMap<String, Refuse>,
}

/// All of them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct World(Arc<Mutex<Inner>>);

pub(crate) fn shipping_store() -> Store {
    Store::new("shipping", KeyType::Uuid).unwrap()
}

impl World {
    pub(crate) fn services(&self, environment: &Environment) -> Result<Vec<Service>> {
        let service = |name| Service::new(name, environment);
        Ok(vec![
            service("product").grpc(product_server::ProductServer::new(self.clone())),
            service("user").grpc(user_server::UserServer::new(self.clone())),
            service("fraud").grpc(fraud_server::FraudServer::new(self.clone())),
            service("inventory").grpc(inventory_server::InventoryServer::new(self.clone())),
            service("payment").grpc(payment_server::PaymentServer::new(self.clone())),
            service("shipping")
                .store(&shipping_store())
                .grpc(shipping_server::ShippingServer::new(self.clone())),
        ])
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(crate) fn refuse(&self, product: Uuid, what: Refuse) {
        self.inner().refused.insert(product.to_string(), what);
    }

    /// Refuses nothing any more.
    pub(crate) fn answer(&self, product: Uuid) {
        let mut inner = self.inner();
        inner.refused.remove(&product.to_string());
        inner.orders.values_mut().for_each(|order| order.refuse = None);
    }

    pub(crate) fn calls(&self, call: &str, order: Uuid) -> u32 {
        let inner = self.inner();
        let order = inner.orders.get(&order);
        order
            .and_then(|order| order.calls.get(call).copied())
            .unwrap_or(0)
    }

    /// The orders of which something is held, and what.
    pub(crate) fn holdings(&self) -> Vec<(Uuid, String)> {
        let inner = self.inner();
        let holding = |(id, order): (&Uuid, &Order)| {
            let words = [
                match order.stock {
                    Stock::Reserved => "reserved",
                    Stock::Sold => "sold",
                    Stock::None | Stock::Released => "",
                },
                match order.paid {
                    Paid::Held => "held",
                    Paid::Captured => "paid",
                    Paid::None | Paid::GivenBack => "",
                },
                if order.sent == Sent::UnderWay { "sent" } else { "" },
            ];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            (!words.is_empty()).then(|| (*id, words.join(", ")))
        };
        inner.orders.iter().filter_map(holding).collect()
    }

    /// Notes a call, and does something with its order.
    fn with<T>(
        &self,
        call: &'static str,
        operation: Option<v1::Operation>,
        work: impl FnOnce(&mut Order) -> T,
    ) -> Result<T, Status> {
        let operation = Operation::try_from(operation)?;
        let mut inner = self.inner();
        let order = inner.orders.entry(operation.order_id).or_default();
        *order.calls.entry(call).or_default() += 1;
        Ok(work(order))
    }
}

fn refusal(reason: &str) -> Refusal {
    Refusal::new(reason, "")
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl product_server::Product for World {
    async fn get(&self, request: Request<GetProductsRequest>) -> Reply<GetProductsReply> {
        let (_, asked) = open(request)?;
        let product = |product_id: String| ProductInfo {
            product_id,
            name: "Thing".to_owned(),
            category: "things".to_owned(),
            price: Some(Money::new(super::PRICE, Currency::EUR).into()),
            weight_grams: 500,
            on_sale: true,
        };
        let products = asked.product_ids.into_iter().map(product).collect();
        Ok(Response::new(GetProductsReply { products }))
    }

    async fn newest(&self, _: Request<NewestProductsRequest>) -> Reply<GetProductsReply> {
        Err(Status::unimplemented("orders don't ask"))
    }
}

#[tonic::async_trait]
impl user_server::User for World {
    async fn get(&self, request: Request<GetUserRequest>) -> Reply<UserInfo> {
        let (_, asked) = open(request)?;
        Ok(Response::new(UserInfo {
            user_id: asked.user_id,
            ..UserInfo::default()
        }))
    }
}

#[tonic::async_trait]
impl fraud_server::Fraud for World {
    async fn score(&self, request: Request<ScoreRequest>) -> Reply<ScoreReply> {
        let (_, asked) = open(request)?;
        let product = asked.lines.first().map(|line| line.product_id.clone());
        let refuse = product.and_then(|product| self.inner().refused.get(&product).copied());
        let decision = self.with("score", asked.operation, |order| {
            order.refuse = refuse;
            if refuse == Some(Refuse::Score) {
                Decision::Decline
            } else {
                Decision::Approve
            }
        })?;
        Ok(Response::new(ScoreReply {
            decision: decision.into(),
            ..ScoreReply::default()
        }))
    }
}

#[tonic::async_trait]
impl inventory_server::Inventory for World {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Reply<ReserveReply> {
        let (_, asked) = open(request)?;
        let outcome = self.with("reserve", asked.operation, |order| {
            let refused = |reason: &str| {
                reserve_reply::Outcome::Refused(OutOfStock {
                    reason: reason.to_owned(),
                    ..OutOfStock::default()
                })
            };
            match (order.refuse, order.stock) {
                (Some(Refuse::Reserve), _) => refused("out-of-stock"),
                (_, Stock::Released) => refused("released"),
                (_, Stock::None) => {
                    order.stock = Stock::Reserved;
                    reserve_reply::Outcome::Reserved(Reserved::default())
                }
                (..) => reserve_reply::Outcome::Reserved(Reserved::default()),
            }
        })?;
        Ok(Response::new(ReserveReply {
            outcome: Some(outcome),
        }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Reply<ReleaseReply> {
        let (_, asked) = open(request)?;
        self.with("release", asked.operation, |order| order.stock = Stock::Released)?;
        Ok(Response::new(ReleaseReply {}))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Reply<CommitReply> {
        let (_, asked) = open(request)?;
        let outcome = self.with("commit", asked.operation, |order| {
            match (order.refuse, order.stock) {
                (Some(Refuse::Commit), _) => commit_reply::Outcome::Refused(refusal("expired")),
                (_, Stock::Reserved | Stock::Sold) => {
                    order.stock = Stock::Sold;
                    commit_reply::Outcome::Committed(Committed {})
                }
                (..) => commit_reply::Outcome::Refused(refusal("not-reserved")),
            }
        })?;
        Ok(Response::new(CommitReply {
            outcome: Some(outcome),
        }))
    }

    async fn stock(&self, _: Request<StockRequest>) -> Reply<StockReply> {
        Err(Status::unimplemented("orders don't ask"))
    }
}

fn payment(refused: Option<&str>) -> Response<PaymentReply> {
    let outcome = match refused {
        Some(reason) => payment_reply::Outcome::Refused(refusal(reason)),
        None => payment_reply::Outcome::Payment(PaymentInfo::default()),
    };
    Response::new(PaymentReply {
        outcome: Some(outcome),
    })
}

#[tonic::async_trait]
impl payment_server::Payment for World {
    async fn authorise(&self, request: Request<AuthoriseRequest>) -> Reply<PaymentReply> {
        let (_, asked) = open(request)?;
        let refused = self.with("authorise", asked.operation, |order| {
            match (order.refuse, order.paid) {
                (Some(Refuse::Authorise), _) => Some("declined"),
                (_, Paid::GivenBack) => Some("voided"),
                (_, Paid::None) => {
                    order.paid = Paid::Held;
                    None
                }
                (_, Paid::Held | Paid::Captured) => None,
            }
        })?;
        Ok(payment(refused))
    }

    async fn capture(&self, request: Request<CaptureRequest>) -> Reply<PaymentReply> {
        let (_, asked) = open(request)?;
        let refused = self.with("capture", asked.operation, |order| {
            match (order.refuse, order.paid) {
                (Some(Refuse::Capture), _) | (_, Paid::None | Paid::GivenBack) => Some("not-authorised"),
                (_, Paid::Held | Paid::Captured) => {
                    order.paid = Paid::Captured;
                    None
                }
            }
        })?;
        Ok(payment(refused))
    }

    async fn void(&self, request: Request<VoidRequest>) -> Reply<PaymentReply> {
        let (_, asked) = open(request)?;
        let refused = self.with("void", asked.operation, |order| match order.paid {
            Paid::Captured => Some("captured"),
            Paid::None | Paid::Held | Paid::GivenBack => {
                order.paid = Paid::GivenBack;
                None
            }
        })?;
        Ok(payment(refused))
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Reply<PaymentReply> {
        let (_, asked) = open(request)?;
        self.with("refund", asked.operation, |order| order.paid = Paid::GivenBack)?;
        Ok(payment(None))
    }
}

#[tonic::async_trait]
impl shipping_server::Shipping for World {
    async fn quote(&self, request: Request<QuoteRequest>) -> Reply<QuoteReply> {
        let (_, _) = open(request)?;
        let rate = ShippingRate {
            service: "standard".to_owned(),
            price: Some(Money::new(super::SHIPPING, Currency::EUR).into()),
            days: 3,
        };
        Ok(Response::new(QuoteReply { rates: vec![rate] }))
    }

    async fn create(&self, request: Request<CreateShipmentRequest>) -> Reply<ShipmentReply> {
        let (_, asked) = open(request)?;
        let id = asked
            .operation
            .as_ref()
            .map(|operation| operation.order_id.clone());
        let (refuse, sent) = self.with("ship", asked.operation, |order| {
            if order.sent == Sent::None && order.refuse != Some(Refuse::Ship) {
                order.sent = Sent::UnderWay;
            }
            (order.refuse, order.sent)
        })?;
        if refuse == Some(Refuse::AnswerToShip) {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let outcome = match sent {
            Sent::UnderWay => shipment_reply::Outcome::Shipment(ShipmentInfo {
                label: format!("label-{}", id.unwrap_or_default()),
                ..ShipmentInfo::default()
            }),
            Sent::None => shipment_reply::Outcome::Refused(refusal("refused-by-carrier")),
            Sent::Recalled => shipment_reply::Outcome::Refused(refusal("cancelled")),
        };
        Ok(Response::new(ShipmentReply {
            outcome: Some(outcome),
        }))
    }

    async fn hand_over(&self, request: Request<HandOverRequest>) -> Reply<ShipmentReply> {
        let (_, asked) = open(request)?;
        let sent = self.with("hand-over", asked.operation, |order| order.sent)?;
        let outcome = match sent {
            Sent::UnderWay => shipment_reply::Outcome::Shipment(ShipmentInfo::default()),
            Sent::None => shipment_reply::Outcome::Refused(refusal("not-labelled")),
            Sent::Recalled => shipment_reply::Outcome::Refused(refusal("cancelled")),
        };
        Ok(Response::new(ShipmentReply {
            outcome: Some(outcome),
        }))
    }

    async fn cancel(&self, request: Request<CancelShipmentRequest>) -> Reply<ShipmentReply> {
        let (_, asked) = open(request)?;
        let refuse = self.with("recall", asked.operation, |order| {
            if order.refuse != Some(Refuse::Recall) {
                order.sent = Sent::Recalled;
            }
            order.refuse
        })?;
        let outcome = match refuse {
            Some(Refuse::Recall) => shipment_reply::Outcome::Refused(refusal("under-way")),
            _ => shipment_reply::Outcome::Shipment(ShipmentInfo::default()),
        };
        Ok(Response::new(ShipmentReply {
            outcome: Some(outcome),
        }))
    }
}
