//! Bringing notifications: to the instances that hold the user's sockets, and to providers.
//!
//! This is a consumer's work, in the topic of the priority. A socket that can't be reached is no failure: what is stored is found. A provider that can't be
//! reached is one, and climbs the priority's ladder.

use crate::channels::{Letter, Undelivered, letter_key};
use crate::hub::Wake;
use crate::model::{Channel, Notification, columns};
use crate::{App, preference};
use futures_util::future::join_all;
use ringway_sdk::events::{Event, Failure};
use ringway_sdk::rpc::Peer;
use ringway_sdk::web::Problem;
use ringway_sdk::{Context, Transaction};
use shop_contracts::events::{
    Message as _, NotificationEvent, NotificationFailed, NotificationRequested, NotificationSent, Tell as _,
};
use shop_contracts::rpc::v1::notification_delivery_client::NotificationDeliveryClient;
use shop_contracts::rpc::v1::user_client::UserClient;
use shop_contracts::rpc::v1::{DeliverRequest, Delivery, GetUserRequest};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// For a call of another instance.
const CALL_BOUND: Duration = Duration::from_secs(1);

/// For asking the user service.
const USER_BOUND: Duration = Duration::from_secs(2);

/// The most instances that are remembered.
const MAX_INSTANCES: usize = 256;

/// Acts on an event of a priority's topic.
pub(crate) async fn dispatch(app: App, tx: Transaction, event: Arc<Event>) -> Result<(), Failure> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM notification_item WHERE user_id = $1 AND notification_id = $2 AND sequence IS NOT NULL"
    );
    let NotificationEvent::Requested(requested) = NotificationEvent::of(&event)? else {
        return Err(Failure::Never(
            "another kind of event in a priority's topic".to_owned(),
        ));
    };
    let row = tx
        .query_opt(SQL, &[&requested.user_id, &requested.notification_id])
        .await?;
    // It is no longer kept.
    let Some(row) = row else { return Ok(()) };
    let notification = Notification::read(&row);
    match requested.channel.as_deref() {
        None => {
            deliver(&app, requested.user_id, &notification).await;
            Ok(())
        }
        Some(name) => match Channel::of_name(name) {
            Some(channel) => hand_over(&app, &tx, &requested, channel, &notification).await,
            None => Err(Failure::Never(format!("the channel {name} is unknown"))),
        },
    }
}

/// Tells the user's sockets, wherever they are; how many were told.
pub(crate) async fn deliver(app: &App, user_id: Uuid, notification: &Notification) -> u32 {
    let json = serde_json::to_string(notification).unwrap_or_default();
    let holders = app.registry.holders(user_id).await;
    let told = holders
        .iter()
        .map(|address| tell(app, address, user_id, notification.sequence, &json));
    join_all(told).await.into_iter().sum()
}

async fn tell(app: &App, address: &str, user_id: Uuid, sequence: i64, json: &str) -> u32 {
    if app.registry.is_own(address) {
        let told = app.hub.tell(user_id, &Wake::Item(sequence, json.into()));
        return u32::try_from(told).unwrap_or(u32::MAX);
    }
    let Some(instance) = instance(app, address) else {
        return 0;
    };
    let context = Context::background().with_timeout(CALL_BOUND);
    let delivery = Delivery {
        user_id: user_id.to_string(),
        sequence,
        json: json.to_owned(),
    };
    let request = DeliverRequest {
        deliveries: vec![delivery],
    };
    match NotificationDeliveryClient::new(instance.call(&context))
        .deliver(request)
        .await
    {
        Ok(reply) => reply.into_inner().sockets,
        Err(status) => {
            tracing::debug!(%status, address, "an instance can't be told");
            0
        }
    }
}

/// Another instance, as it was called before.
fn instance(app: &App, address: &str) -> Option<Peer> {
    let mut instances = app.instances.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = instances.get(address) {
        return Some(known.clone());
    }
    let made = Peer::new("notification", address, app.environment.service_key.clone());
    let made = made
        .inspect_err(|error| tracing::warn!(%error, address, "the address of an instance"))
        .ok()?;
    if instances.len() >= MAX_INSTANCES {
        instances.clear();
    }
    instances.insert(address.to_owned(), made.clone());
    Some(made)
}

/// Hands letters to a channel's provider. What it refuses for good is told of and done.
async fn hand_over(
    app: &App,
    tx: &Transaction,
    requested: &NotificationRequested,
    channel: Channel,
    notification: &Notification,
) -> Result<(), Failure> {
    let Some(provider) = app.settings.providers.get(&channel) else {
        return Err(Failure::Later(format!(
            "there is no provider for {}",
            channel.name()
        )));
    };
    let (mut sent, mut refused) = (false, None);
    for (place, to) in addresses(app, tx, requested.user_id, channel)
        .await?
        .into_iter()
        .enumerate()
    {
        let letter = Letter {
            channel,
            to,
            title: notification.title.clone(),
            body: notification.body.clone(),
        };
        match provider
            .send(&letter_key(notification.notification_id, channel, place), &letter)
            .await
        {
            Ok(()) => sent = true,
            Err(Undelivered::Refused(why)) => refused = Some(why),
            Err(Undelivered::Failed(why)) => return Err(Failure::Later(why)),
        }
    }
    let (notification_id, user_id) = (requested.notification_id, requested.user_id);
    let channel = channel.name().to_owned();
    let outcome: NotificationEvent = match (sent, refused) {
        (true, _) => NotificationSent {
            notification_id,
            user_id,
            channel,
        }
        .into(),
        (false, Some(reason)) => NotificationFailed {
            notification_id,
            user_id,
            channel,
            reason,
        }
        .into(),
        // The user has no address of this kind.
        (false, None) => return Ok(()),
    };
    tx.tell(&app.store, user_id, outcome).await?;
    Ok(())
}

/// Where letters of a channel go to.
async fn addresses(
    app: &App,
    tx: &Transaction,
    user_id: Uuid,
    channel: Channel,
) -> Result<Vec<String>, Failure> {
    if channel == Channel::Push {
        return Ok(preference::devices(tx, user_id).await?);
    }
    let Some(users) = &app.users else {
        return Err(Failure::Later(
            "the address of the user service is not known".to_owned(),
        ));
    };
    let context = Context::background().with_timeout(USER_BOUND);
    let request = GetUserRequest {
        user_id: user_id.to_string(),
    };
    let user = match UserClient::new(users.call(&context)).get(request).await {
        Ok(user) => user.into_inner(),
        Err(status) => {
            let problem = Problem::from(status);
            return match problem.status {
                404 => Ok(Vec::new()),
                _ => Err(Failure::Later(format!("the user service: {problem}"))),
            };
        }
    };
    let address = match channel {
        Channel::Sms => user.phone,
        Channel::Email | Channel::Push => user.email,
    };
    Ok([address]
        .into_iter()
        .filter(|address| !address.is_empty())
        .collect())
}
