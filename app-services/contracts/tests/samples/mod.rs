//! One event of every kind.

use shop_contracts::events::*;
use shop_contracts::{Currency, Money};
use time::OffsetDateTime;
use uuid::Uuid;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn cents(amount: i64) -> Money {
    Money::new(amount, Currency::EUR)
}

fn lines() -> Vec<OrderLine> {
    vec![OrderLine {
        product_id: id(4),
        name: "Kettle".to_owned(),
        category: "kitchen".to_owned(),
        quantity: 2,
        unit_price: cents(2_450),
    }]
}

pub(crate) fn orders() -> Vec<OrderEvent> {
    let (order_id, user_id) = (id(1), id(2));
    vec![
        OrderPlaced {
            order_id,
            user_id,
            region: "us-east".to_owned(),
            lines: lines(),
            total: cents(5_390),
            shipping_price: cents(490),
            shipping_country: "PT".to_owned(),
        }
        .into(),
        OrderConfirmed {
            order_id,
            user_id,
            region: "us-east".to_owned(),
            lines: lines(),
            total: cents(5_390),
            label: "LC000000001PT".to_owned(),
        }
        .into(),
        OrderCancelled {
            order_id,
            user_id,
            by: CancelledBy::Shop,
            reason: "out-of-stock".to_owned(),
            total: cents(5_390),
        }
        .into(),
        OrderShipped {
            order_id,
            user_id,
            label: "LC000000001PT".to_owned(),
        }
        .into(),
        OrderDelivered { order_id, user_id }.into(),
    ]
}

pub(crate) fn payments() -> Vec<PaymentEvent> {
    let (payment_id, order_id, user_id) = (id(3), id(1), id(2));
    vec![
        PaymentAuthorised {
            payment_id,
            order_id,
            user_id,
            amount: cents(5_390),
        }
        .into(),
        PaymentDeclined {
            payment_id,
            order_id,
            user_id,
            amount: cents(5_390),
            reason: "insufficient-funds".to_owned(),
        }
        .into(),
        PaymentCaptured {
            payment_id,
            order_id,
            user_id,
            amount: cents(5_390),
        }
        .into(),
        PaymentVoided {
            payment_id,
            order_id,
            user_id,
            amount: Some(cents(5_390)),
        }
        .into(),
        PaymentRefunded {
            payment_id,
            order_id,
            user_id,
            amount: cents(2_450),
            refunded: cents(2_450),
        }
        .into(),
    ]
}

pub(crate) fn inventory() -> Vec<InventoryEvent> {
    let (product_id, order_id, user_id) = (id(4), id(1), id(2));
    let warehouse = "lisbon".to_owned();
    vec![
        StockSet {
            product_id,
            warehouse: warehouse.clone(),
            on_hand: 100,
            by: id(9),
        }
        .into(),
        StockReserved {
            product_id,
            order_id,
            user_id,
            warehouse: warehouse.clone(),
            quantity: 2,
            expires_at: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
        }
        .into(),
        ReservationReleased {
            product_id,
            order_id,
            user_id,
            warehouse: warehouse.clone(),
            quantity: 2,
            cause: ReleaseCause::Expired,
        }
        .into(),
        ReservationCommitted {
            product_id,
            order_id,
            user_id,
            warehouse,
            quantity: 2,
        }
        .into(),
    ]
}

pub(crate) fn shipping() -> Vec<ShippingEvent> {
    let (shipment_id, order_id, user_id) = (id(5), id(1), id(2));
    vec![
        ShipmentCreated {
            shipment_id,
            order_id,
            user_id,
            service: "standard".to_owned(),
            label: "LC000000001PT".to_owned(),
            price: cents(490),
            country: "PT".to_owned(),
        }
        .into(),
        ShipmentMoved {
            shipment_id,
            order_id,
            user_id,
            state: ShipmentState::InTransit,
            label: "LC000000001PT".to_owned(),
        }
        .into(),
        ShipmentCancelled {
            shipment_id,
            order_id,
            user_id,
        }
        .into(),
    ]
}

pub(crate) fn fraud() -> Vec<FraudEvent> {
    let (order_id, user_id) = (id(1), id(2));
    vec![
        SignInTried {
            user_id,
            succeeded: false,
            client_address: "192.0.2.7".to_owned(),
        }
        .into(),
        FraudScored {
            order_id,
            user_id,
            amount: cents(5_390),
            score: 55,
            verdict: Verdict::Review,
            reasons: vec![ScoreReason {
                rule: "many-orders".to_owned(),
                points: 55,
                detail: "6 orders within an hour".to_owned(),
            }],
        }
        .into(),
        FraudReviewed {
            order_id,
            user_id,
            verdict: Verdict::Approve,
            by: id(9),
        }
        .into(),
    ]
}

pub(crate) fn notifications() -> Vec<NotificationEvent> {
    let (notification_id, user_id) = (id(6), id(2));
    vec![
        NotificationRequested {
            notification_id,
            user_id,
            category: "order".to_owned(),
            priority: "high".to_owned(),
            channel: None,
        }
        .into(),
        NotificationSent {
            notification_id,
            user_id,
            channel: "in-app".to_owned(),
        }
        .into(),
        NotificationFailed {
            notification_id,
            user_id,
            channel: "sms".to_owned(),
            reason: "no-such-number".to_owned(),
        }
        .into(),
        NotificationRead {
            notification_id,
            user_id,
        }
        .into(),
    ]
}

pub(crate) fn analytics() -> Vec<AnalyticsEvent> {
    let (visitor, region, product_id) = (id(2).to_string(), "us-west".to_owned(), id(4));
    let category = "kitchen".to_owned();
    vec![
        ProductViewed {
            visitor: visitor.clone(),
            region: region.clone(),
            product_id,
            category: category.clone(),
        }
        .into(),
        ProductSearched {
            visitor: visitor.clone(),
            region: region.clone(),
            query: "ketle".to_owned(),
            found: 3,
        }
        .into(),
        CartChanged {
            visitor,
            region,
            product_id,
            category,
            quantity: 2,
            unit_price: cents(2_450),
        }
        .into(),
    ]
}

pub(crate) fn recommendations() -> Vec<RecommendationEvent> {
    let (visitor, region) = (id(2).to_string(), "us-west".to_owned());
    vec![
        RecommendationShown {
            visitor: visitor.clone(),
            region: region.clone(),
            source: "bought-together".to_owned(),
            products: vec![id(4), id(7)],
        }
        .into(),
        RecommendationTaken {
            visitor,
            region,
            source: "bought-together".to_owned(),
            product_id: id(7),
        }
        .into(),
    ]
}

pub(crate) fn audit() -> Vec<AuditEvent> {
    vec![
        AuditRecorded {
            subject: id(2).to_string(),
            actor: id(9),
            action: "address-shown".to_owned(),
            detail: "asked for by telephone".to_owned(),
        }
        .into(),
        ProductChanged {
            product_id: id(4),
            name: "Kettle".to_owned(),
            category: "kitchen".to_owned(),
            price: cents(2_450),
            on_sale: true,
            by: id(9),
        }
        .into(),
        UserRegistered {
            user_id: id(2),
            country: "PT".to_owned(),
            home_region: "us-east".to_owned(),
        }
        .into(),
        UserDeleted { user_id: id(2) }.into(),
    ]
}
