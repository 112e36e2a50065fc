//! An order's claim on products.

use crate::stock::{count, stored};
use crate::{Inventory, Refusal};
use futures_util::future::{try_join, try_join_all};
use ringway_sdk::column::{Columns, Json, Word};
use ringway_sdk::{Context, Parameter, Result, Transaction};
use serde::{Deserialize, Serialize};
use shop_contracts::Operation;
use shop_contracts::events::{
    InventoryEvent, ReleaseCause, ReservationCommitted, ReservationReleased, StockReserved, Tell,
};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// The most products of an order.
const MAX_LINES: usize = 100;

/// Locks an order's hold of a product, and makes it if there is none: whoever comes at the same time waits.
const LOCK: &str = "INSERT INTO inventory_hold AS h (product_id, order_id, user_id, state, taken, expires_at) \
     VALUES ($1, $2, $3, 'new', '[]', now() + $4 * interval '1 second') \
     ON CONFLICT (product_id, order_id) DO UPDATE SET state = h.state \
     RETURNING state, taken, expires_at, expires_at <= now()";
const HELD: &str = "SELECT state FROM inventory_hold WHERE product_id = $1 AND order_id = $2";
const FREE: &str = "SELECT warehouse, on_hand - reserved FROM inventory_stock WHERE product_id = $1";
const LOCK_FREE: &str = "SELECT warehouse, on_hand - reserved FROM inventory_stock WHERE product_id = $1 \
     ORDER BY warehouse FOR UPDATE";
const TAKE: &str =
    "UPDATE inventory_stock SET reserved = reserved + $3 WHERE product_id = $1 AND warehouse = $2";
const GIVE_BACK: &str =
    "UPDATE inventory_stock SET reserved = reserved - $3 WHERE product_id = $1 AND warehouse = $2";
const SEND: &str = "UPDATE inventory_stock SET reserved = reserved - $3, on_hand = on_hand - $3 \
     WHERE product_id = $1 AND warehouse = $2";
const RETURN: &str =
    "UPDATE inventory_stock SET on_hand = on_hand + $3 WHERE product_id = $1 AND warehouse = $2";
const MOVE: &str = "UPDATE inventory_hold SET state = $3, taken = $4 WHERE product_id = $1 AND order_id = $2";
const FORGET: &str = "DELETE FROM inventory_hold WHERE product_id = $1 AND order_id = $2";

/// So many from a warehouse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// The warehouse.
    pub warehouse: String,
    /// How many.
    pub quantity: u32,
}

/// Where a hold stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Made by the transaction that is under way; never committed.
    New,
    Reserved,
    Committed,
    Released,
    Expired,
}

/// What came of reserving.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reservation {
    /// It is kept until then.
    Reserved {
        /// From where.
        taken: BTreeMap<Uuid, Vec<Taken>>,
        /// Until then.
        #[serde(with = "time::serde::rfc3339")]
        expires_at: OffsetDateTime,
    },
    /// Nothing is kept.
    Refused {
        /// `out-of-stock`, `unknown-product`, `released`, `expired` or `committed`.
        reason: String,
        /// Because of this product.
        product_id: Uuid,
        /// Of which there are so many.
        available: u32,
    },
}

/// What came of committing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Committal {
    /// It has left the warehouse.
    Committed,
    /// The order's time was over, and others may have it.
    Expired,
    /// The order gave it back.
    Released,
    /// It was never reserved.
    NotReserved,
}

/// An order's hold of a product, locked.
struct Hold<'a> {
    inventory: &'a Inventory,
    tx: &'a Transaction,
    product_id: Uuid,
    order_id: Uuid,
    user_id: Uuid,
    state: State,
    taken: Vec<Taken>,
    expires_at: OffsetDateTime,
    is_over: bool,
}

impl Inventory {
    /// Keeps products for an order, all of them or none.
    ///
    /// # Errors
    /// A line that can't be; the SDK's. Then the same call, made again, goes on where this one ended.
    pub async fn reserve(
        &self,
        context: &Context,
        operation: &Operation,
        lines: &BTreeMap<Uuid, u32>,
    ) -> Result<Reservation, Refusal> {
        if lines.is_empty() || lines.len() > MAX_LINES || lines.values().any(|quantity| *quantity == 0) {
            return Err(Refusal::Invalid(
                "lines: 1 to 100, each of at least one".to_owned(),
            ));
        }
        let mut all: Option<(BTreeMap<Uuid, Vec<Taken>>, OffsetDateTime)> = None;
        for (product_id, quantity) in lines {
            match self
                .reserve_one(context, operation, *product_id, *quantity)
                .await?
            {
                Reservation::Reserved { taken, expires_at } => {
                    let (so_far, until) = all.get_or_insert_with(|| (BTreeMap::new(), expires_at));
                    so_far.extend(taken);
                    *until = expires_at.min(*until);
                }
                refused => {
                    let before: Vec<Uuid> = lines.keys().copied().take_while(|id| id != product_id).collect();
                    self.release(context, operation, &before).await?;
                    return Ok(refused);
                }
            }
        }
        let (taken, expires_at) = all.ok_or_else(|| Refusal::Invalid("lines".to_owned()))?;
        Ok(Reservation::Reserved { taken, expires_at })
    }

    async fn reserve_one(
        &self,
        context: &Context,
        operation: &Operation,
        product_id: Uuid,
        quantity: u32,
    ) -> Result<Reservation, Refusal> {
        let text = format!("reserve {quantity} for {}", operation.order_id);
        let once = self.store.once(product_id, &operation.key, text);
        let refused = |reason: &str, available| Reservation::Refused {
            reason: reason.to_owned(),
            product_id,
            available,
        };
        let work = async |tx: Transaction| {
            let (free, held) = try_join(
                tx.query(FREE, &[&product_id]),
                tx.query(HELD, &[&product_id, &operation.order_id]),
            )
            .await?;
            let free: u32 = free.iter().map(|row| count(row.get(1))).sum();
            // Where there is too little anyway, nobody has to wait for anybody's lock.
            if free < quantity && held.is_empty() {
                return Ok(refused("out-of-stock", free));
            }
            let mut hold = self.lock(&tx, operation, product_id).await?;
            match hold.state {
                State::New => {
                    if hold.take(quantity).await? {
                        return Ok(hold.reserved());
                    }
                    tx.execute(FORGET, &[&product_id, &operation.order_id]).await?;
                    Ok(refused("out-of-stock", free))
                }
                State::Reserved => Ok(hold.reserved()),
                over => Ok::<_, Refusal>(refused(&Word(over).text()?, free)),
            }
        };
        self.database.transaction_once(context, once, work).await
    }

    /// Gives back what is kept for an order, or was sent for it, and keeps it from being reserved later.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn release(
        &self,
        context: &Context,
        operation: &Operation,
        products: &[Uuid],
    ) -> Result<(), Refusal> {
        let released = products
            .iter()
            .map(|product_id| self.end(context, operation, *product_id, State::Released));
        try_join_all(released).await.map(drop)
    }

    /// What is kept for an order has left its warehouses: all of it, or as much as was still kept.
    ///
    /// # Errors
    /// The SDK's.
    pub async fn commit(
        &self,
        context: &Context,
        operation: &Operation,
        products: &[Uuid],
    ) -> Result<Committal, Refusal> {
        let ended = products
            .iter()
            .map(|product_id| self.end(context, operation, *product_id, State::Committed));
        let ended = try_join_all(ended).await?;
        let failed = ended.into_iter().find(|came| *came != Committal::Committed);
        Ok(failed.unwrap_or(Committal::Committed))
    }

    /// Ends a hold once.
    async fn end(
        &self,
        context: &Context,
        operation: &Operation,
        product_id: Uuid,
        to: State,
    ) -> Result<Committal, Refusal> {
        let word = Word(to).text()?;
        // Reserving releases under its own key what it can't keep.
        let key = format!("{word}/{}", operation.key);
        let once = self
            .store
            .once(product_id, key, format!("{word} {}", operation.order_id));
        let work = async |tx: Transaction| {
            let mut hold = self.lock(&tx, operation, product_id).await?;
            hold.end(to).await
        };
        self.database.transaction_once(context, once, work).await
    }

    /// Releases a hold whose time is over; whatever else became of it in between stays.
    pub(crate) async fn expire(
        &self,
        context: &Context,
        operation: &Operation,
        product_id: Uuid,
    ) -> Result<(), Refusal> {
        let work = async |tx: Transaction| {
            let mut hold = self.lock(&tx, operation, product_id).await?;
            match hold.state {
                State::New => tx
                    .execute(FORGET, &[&product_id, &operation.order_id])
                    .await
                    .map(drop)?,
                State::Reserved if hold.is_over => hold.end(State::Expired).await.map(drop)?,
                _ => {}
            }
            Ok::<_, Refusal>(())
        };
        self.database.transaction(context, work).await
    }

    async fn lock<'a>(
        &'a self,
        tx: &'a Transaction,
        operation: &Operation,
        product_id: Uuid,
    ) -> Result<Hold<'a>, Refusal> {
        let (order_id, user_id) = (operation.order_id, operation.user_id);
        let seconds = f64::from(self.settings.hold_seconds);
        let row = tx
            .query_one(LOCK, &[&product_id, &order_id, &user_id, &seconds])
            .await?;
        Ok(Hold {
            inventory: self,
            tx,
            product_id,
            order_id,
            user_id,
            state: row.word("state")?,
            taken: row.json("taken")?.unwrap_or_default(),
            expires_at: row.get("expires_at"),
            is_over: row.get(3),
        })
    }
}

impl Hold<'_> {
    fn reserved(&self) -> Reservation {
        Reservation::Reserved {
            taken: BTreeMap::from([(self.product_id, self.taken.clone())]),
            expires_at: self.expires_at,
        }
    }

    /// Takes from the warehouse that has most, then from the next; says whether there was enough.
    async fn take(&mut self, quantity: u32) -> Result<bool, Refusal> {
        let rows = self.tx.query(LOCK_FREE, &[&self.product_id]).await?;
        let mut free: Vec<(u32, String)> = rows.iter().map(|row| (count(row.get(1)), row.get(0))).collect();
        free.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = quantity;
        for (free, warehouse) in free {
            let quantity = left.min(free);
            if quantity > 0 {
                left -= quantity;
                self.taken.push(Taken { warehouse, quantity });
            }
        }
        if left > 0 {
            return Ok(false);
        }
        self.move_to(State::Reserved, Some(TAKE)).await?;
        Ok(true)
    }

    async fn end(&mut self, to: State) -> Result<Committal, Refusal> {
        match (self.state, to) {
            (State::Reserved, State::Committed) => self.move_to(State::Committed, Some(SEND)).await?,
            (State::Reserved, _) => self.move_to(to, Some(GIVE_BACK)).await?,
            (State::Committed, State::Released) => self.move_to(State::Released, Some(RETURN)).await?,
            // Nothing was taken: the row keeps it so.
            (State::New, State::Released) => self.move_to(State::Released, None).await?,
            (State::New, _) => {
                self.tx
                    .execute(FORGET, &[&self.product_id, &self.order_id])
                    .await?;
                return Ok(Committal::NotReserved);
            }
            (State::Committed | State::Released | State::Expired, _) => {}
        }
        Ok(match self.state {
            State::Committed => Committal::Committed,
            State::Expired => Committal::Expired,
            State::New | State::Reserved | State::Released => Committal::Released,
        })
    }

    /// Changes the stock by what the hold has taken, keeps where the hold stands, and tells of it: sent together, done in this order.
    async fn move_to(&mut self, state: State, change: Option<&str>) -> Result<(), Refusal> {
        self.state = state;
        let this = &*self;
        let change = async {
            for Taken { warehouse, quantity } in change.map_or(&[][..], |_| &this.taken) {
                let parameters: &[Parameter<'_>] = &[&this.product_id, warehouse, &stored(*quantity)?];
                this.tx.execute(change.unwrap_or_default(), parameters).await?;
            }
            Ok::<_, Refusal>(())
        };
        let record = async {
            let (state, taken) = (Word(state), Json(&this.taken));
            let parameters: &[Parameter<'_>] = &[&this.product_id, &this.order_id, &state, &taken];
            this.tx.execute(MOVE, parameters).await?;
            let store = &this.inventory.store;
            for taken in &this.taken {
                this.tx.tell(store, this.product_id, this.event(taken)).await?;
            }
            Ok(())
        };
        try_join(change, record).await.map(drop)
    }

    /// What has happened to a part.
    fn event(&self, taken: &Taken) -> InventoryEvent {
        let (product_id, order_id, user_id) = (self.product_id, self.order_id, self.user_id);
        let Taken { warehouse, quantity } = taken.clone();
        let released = |cause, warehouse| ReservationReleased {
            product_id,
            order_id,
            user_id,
            warehouse,
            quantity,
            cause,
        };
        match self.state {
            State::New | State::Reserved => StockReserved {
                product_id,
                order_id,
                user_id,
                warehouse,
                quantity,
                expires_at: self.expires_at,
            }
            .into(),
            State::Committed => ReservationCommitted {
                product_id,
                order_id,
                user_id,
                warehouse,
                quantity,
            }
            .into(),
            State::Released => released(ReleaseCause::Released, warehouse).into(),
            State::Expired => released(ReleaseCause::Expired, warehouse).into(),
        }
    }
}
