//! Inside: what the order service asks for.

use crate::{Committal, Inventory, Refusal, Reservation};
use futures_util::future::try_join_all;
use ringway_sdk::rpc::{Request, Response, Status, open};
use shop_contracts::Operation;
use shop_contracts::rpc::v1::{self, commit_reply, inventory_server, reserve_reply};
use shop_contracts::rpc::{id, ids};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The most products that are asked for at once.
const MOST_PRODUCTS: usize = 200;

fn products(texts: &[String]) -> Result<Vec<Uuid>, Refusal> {
    if texts.len() > MOST_PRODUCTS {
        return Err(Refusal::Invalid("product_ids: at most 200".to_owned()));
    }
    let mut ids = ids(texts, "product_ids")?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn lines(lines: Vec<v1::Line>) -> Result<BTreeMap<Uuid, u32>, Refusal> {
    let mut all = BTreeMap::new();
    for line in lines {
        if all
            .insert(id(&line.product_id, "lines.product_id")?, line.quantity)
            .is_some()
        {
            return Err(Refusal::Invalid("lines: a product comes twice".to_owned()));
        }
    }
    Ok(all)
}

fn reserve_outcome(reservation: Reservation) -> reserve_reply::Outcome {
    match reservation {
        Reservation::Reserved { taken, expires_at } => {
            let of_product = |(product_id, parts): (Uuid, Vec<crate::Taken>)| {
                parts.into_iter().map(move |part| v1::Taken {
                    product_id: product_id.to_string(),
                    warehouse: part.warehouse,
                    quantity: part.quantity,
                })
            };
            let expires_at_ms = expires_at.unix_timestamp_nanos() / 1_000_000;
            reserve_reply::Outcome::Reserved(v1::Reserved {
                taken: taken.into_iter().flat_map(of_product).collect(),
                expires_at_ms: i64::try_from(expires_at_ms).unwrap_or(i64::MAX),
            })
        }
        Reservation::Refused {
            reason,
            product_id,
            available,
        } => reserve_reply::Outcome::Refused(v1::OutOfStock {
            reason,
            product_id: product_id.to_string(),
            available,
        }),
    }
}

fn commit_outcome(committal: Committal) -> commit_reply::Outcome {
    let refused = |reason, detail: &str| commit_reply::Outcome::Refused(v1::Refusal::new(reason, detail));
    match committal {
        Committal::Committed => commit_reply::Outcome::Committed(v1::Committed {}),
        Committal::Expired => refused("expired", "it was kept for too long"),
        Committal::Released => refused("released", "the order gave it back"),
        Committal::NotReserved => refused("not-reserved", "it was never reserved"),
    }
}

#[tonic::async_trait]
impl inventory_server::Inventory for Inventory {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveReply>, Status> {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        let reserved = Self::reserve(self, &context, &operation, &lines(asked.lines)?).await?;
        let outcome = Some(reserve_outcome(reserved));
        Ok(Response::new(v1::ReserveReply { outcome }))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseReply>, Status> {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        Self::release(self, &context, &operation, &products(&asked.product_ids)?).await?;
        Ok(Response::new(v1::ReleaseReply {}))
    }

    async fn commit(&self, request: Request<v1::CommitRequest>) -> Result<Response<v1::CommitReply>, Status> {
        let (context, asked) = open(request)?;
        let operation = Operation::try_from(asked.operation)?;
        let came = Self::commit(self, &context, &operation, &products(&asked.product_ids)?).await?;
        let outcome = Some(commit_outcome(came));
        Ok(Response::new(v1::CommitReply { outcome }))
    }

    async fn stock(&self, request: Request<v1::StockRequest>) -> Result<Response<v1::StockReply>, Status> {
        let (context, asked) = open(request)?;
        let products = products(&asked.product_ids)?;
        let read = products.into_iter().map(|id| Self::stock(self, &context, id));
        let known = try_join_all(read).await?.into_iter().flatten();
        let products = known.map(|stock| v1::ProductStock {
            product_id: stock.product_id.to_string(),
            available: stock.available,
            reserved: stock.reserved,
        });
        Ok(Response::new(v1::StockReply {
            products: products.collect(),
        }))
    }
}
