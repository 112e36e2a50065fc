//! What other services ask for.

use crate::catalogue::{BY_ID, Product, columns};
use crate::{Catalogue, Refusal};
use ringway_sdk::rpc::open;
use ringway_sdk::{Level, Result};
use shop_contracts::rpc::ids;
use shop_contracts::rpc::v1::product_server::Product as Answers;
use shop_contracts::rpc::v1::{GetProductsReply, GetProductsRequest, NewestProductsRequest, ProductInfo};
use tonic::{Request, Response, Status};

/// The most products of one call.
const MAX_IDS: usize = 200;

impl From<Product> for ProductInfo {
    fn from(product: Product) -> Self {
        Self {
            product_id: product.product_id.to_string(),
            name: product.name,
            category: product.category,
            price: Some(product.price.into()),
            weight_grams: product.weight_grams,
            on_sale: product.on_sale,
        }
    }
}

#[tonic::async_trait]
impl Answers for Catalogue {
    async fn get(&self, request: Request<GetProductsRequest>) -> Result<Response<GetProductsReply>, Status> {
        let (context, request) = open(request)?;
        if request.product_ids.len() > MAX_IDS {
            return Err(Refusal::Invalid(format!("at most {MAX_IDS} products at a time")).into());
        }
        let ids = ids(&request.product_ids, "product_ids").map_err(Refusal::from)?;
        let products = self.database.read(&context, Level::Ryw, async |reader| {
            let mut products = Vec::with_capacity(ids.len());
            // One by one: each of them is in the cache.
            for id in &ids {
                if let Some(row) = reader.query_opt(BY_ID, &[id]).await? {
                    products.push(Product::read(&row)?.into());
                }
            }
            Ok::<_, Refusal>(products)
        });
        Ok(Response::new(GetProductsReply {
            products: products.await?,
        }))
    }

    async fn newest(
        &self,
        request: Request<NewestProductsRequest>,
    ) -> Result<Response<GetProductsReply>, Status> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM product_item WHERE on_sale ORDER BY added_at DESC, product_id LIMIT $1"
        );
        let (context, request) = open(request)?;
        let limit = i64::from(request.limit).min(MAX_IDS as i64);
        let rows = self.database.rows(&context, Level::Ryw, SQL, &[&limit]).await?;
        let products = rows.iter().map(|row| Product::read(row).map(ProductInfo::from));
        Ok(Response::new(GetProductsReply {
            products: products.collect::<Result<_>>()?,
        }))
    }
}
