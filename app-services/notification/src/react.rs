//! What the service does by itself when something happens: it tells users of their orders and payments, and forgets those who leave.

use crate::model::{Draft, Priority};
use crate::{App, send};
use ringway_sdk::Transaction;
use ringway_sdk::events::{Event, Failure};
use shop_contracts::Money;
use shop_contracts::events::{
    AuditEvent, CancelledBy, Message as _, OrderCancelled, OrderConfirmed, OrderDelivered, OrderEvent,
    OrderShipped, PaymentEvent, PaymentRefunded,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What users are told of orders. Whoever placed one is there, and waits.
pub(crate) const OF_ORDERS: [&str; 4] = [
    OrderConfirmed::KIND,
    OrderCancelled::KIND,
    OrderShipped::KIND,
    OrderDelivered::KIND,
];

/// And of payments: an order's own events tell of the others.
pub(crate) const OF_PAYMENTS: [&str; 1] = [PaymentRefunded::KIND];

fn draft(priority: Priority, category: &str, title: &str, body: String, order_id: Uuid) -> Draft {
    Draft {
        priority,
        category: category.to_owned(),
        title: title.to_owned(),
        body,
        data: BTreeMap::from([("order_id".to_owned(), order_id.to_string())]),
    }
}

fn amount(money: &Money) -> String {
    let (whole, cents) = (money.amount_cents / 100, money.amount_cents % 100);
    format!("{whole}.{:02} {}", cents.abs(), money.currency)
}

/// Tells of an order.
pub(crate) async fn order(app: App, tx: Transaction, event: Arc<Event>) -> Result<(), Failure> {
    let (user_id, draft) = match OrderEvent::of(&event)? {
        OrderEvent::Placed(_) => return Ok(()),
        OrderEvent::Confirmed(order) => {
            let body = format!(
                "We have received {} for it, and will send it soon.",
                amount(&order.total)
            );
            let title = "Your order is confirmed";
            (
                order.user_id,
                draft(Priority::High, "order-confirmed", title, body, order.order_id),
            )
        }
        OrderEvent::Cancelled(order) => {
            let title = "Your order is cancelled";
            let body = match order.by {
                CancelledBy::Customer => "As you asked for. You get back whatever was paid.".to_owned(),
                CancelledBy::Shop | CancelledBy::Staff => {
                    format!(
                        "We could not carry it out ({}). You get back whatever was paid.",
                        order.reason
                    )
                }
            };
            (
                order.user_id,
                draft(Priority::High, "order-cancelled", title, body, order.order_id),
            )
        }
        OrderEvent::Shipped(order) => {
            let body = format!("The carrier has it, as {}.", order.label);
            let title = "Your order is on its way";
            (
                order.user_id,
                draft(Priority::Normal, "order-shipped", title, body, order.order_id),
            )
        }
        OrderEvent::Delivered(order) => {
            let body = "We hope that you like it.".to_owned();
            let title = "Your order has arrived";
            (
                order.user_id,
                draft(Priority::Low, "order-delivered", title, body, order.order_id),
            )
        }
    };
    send::put(&app, &tx, user_id, &draft).await?;
    Ok(())
}

/// Tells of a payment.
pub(crate) async fn payment(app: App, tx: Transaction, event: Arc<Event>) -> Result<(), Failure> {
    let PaymentEvent::Refunded(refund) = PaymentEvent::of(&event)? else {
        return Ok(());
    };
    let body = format!("We have paid back {}.", amount(&refund.amount));
    let draft = draft(
        Priority::Normal,
        "payment-refunded",
        "Your refund is on its way",
        body,
        refund.order_id,
    );
    send::put(&app, &tx, refund.user_id, &draft).await?;
    Ok(())
}

/// Forgets who has left.
pub(crate) async fn audit(tx: Transaction, event: Arc<Event>) -> Result<(), Failure> {
    const STATEMENTS: [&str; 3] = [
        "DELETE FROM notification_item WHERE user_id = $1",
        "DELETE FROM notification_preference WHERE user_id = $1",
        "DELETE FROM notification_mailbox WHERE user_id = $1",
    ];
    let AuditEvent::UserDeleted(user) = AuditEvent::of(&event)? else {
        return Ok(());
    };
    for sql in STATEMENTS {
        tx.execute(sql, &[&user.user_id]).await?;
    }
    Ok(())
}
