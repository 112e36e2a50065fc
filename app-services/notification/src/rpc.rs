//! What other services, and other instances, ask for.

use crate::hub::Wake;
use crate::model::{Draft, Priority};
use crate::{App, Refusal, send};
use ringway_sdk::Transaction;
use ringway_sdk::rpc::open;
use shop_contracts::Malformed;
use shop_contracts::rpc::id;
use shop_contracts::rpc::v1::notification_delivery_server::NotificationDelivery;
use shop_contracts::rpc::v1::notification_server::Notification;
use shop_contracts::rpc::v1::{DeliverReply, DeliverRequest, Priority as Said, SendReply, SendRequest};
use tonic::{Request, Response, Status};

/// The most in one call of another instance.
const MAX_DELIVERIES: usize = 1_000;

fn priority(said: Said) -> Result<Priority, Malformed> {
    match said {
        Said::Unspecified => Err(Malformed("priority")),
        Said::Low => Ok(Priority::Low),
        Said::Normal => Ok(Priority::Normal),
        Said::High => Ok(Priority::High),
        Said::Critical => Ok(Priority::Critical),
    }
}

#[tonic::async_trait]
impl Notification for App {
    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendReply>, Status> {
        let (context, request) = open(request)?;
        let priority = priority(request.priority())?;
        let operation = request.operation.ok_or(Malformed("operation"))?;
        let user_id = id(&operation.user_id, "operation.user_id")?;
        let draft = Draft {
            priority,
            category: request.category,
            title: request.title,
            body: request.body,
            data: request.data.into_iter().collect(),
        };
        draft.check().map_err(Refusal::Invalid)?;
        let once = self.store.once(user_id, operation.key, "send");
        let put = async |tx: Transaction| Ok::<_, Refusal>(send::put(self, &tx, user_id, &draft).await?);
        let notification_id = self.database.transaction_once(&context, once, put).await?;
        let notification_id = notification_id.to_string();
        Ok(Response::new(SendReply { notification_id }))
    }
}

#[tonic::async_trait]
impl NotificationDelivery for App {
    async fn deliver(&self, request: Request<DeliverRequest>) -> Result<Response<DeliverReply>, Status> {
        let (_, request) = open(request)?;
        if request.deliveries.len() > MAX_DELIVERIES {
            return Err(Refusal::Invalid(format!("at most {MAX_DELIVERIES} at a time")).into());
        }
        let mut sockets = 0;
        for delivery in request.deliveries {
            let user_id = id(&delivery.user_id, "user_id")?;
            sockets += self
                .hub
                .tell(user_id, &Wake::Item(delivery.sequence, delivery.json.into()));
        }
        let sockets = u32::try_from(sockets).unwrap_or(u32::MAX);
        Ok(Response::new(DeliverReply { sockets }))
    }
}
