//! What is recommended, and what visitors say of it.

use crate::{Recommendations, Refusal};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ringway_sdk::web::Caller;
use ringway_sdk::{Context, Level, Parameter};
use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use shop_contracts::events::{RecommendationEvent, RecommendationShown, RecommendationTaken, Tell as _};
use shop_contracts::rpc::v1::product_client::ProductClient;
use shop_contracts::rpc::v1::{GetProductsRequest, NewestProductsRequest, ProductInfo};
use std::collections::HashSet;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many products an answer has.
const ANSWER: usize = 10;
/// How many are looked at for that: some may not be on sale.
const LOOKED_AT: usize = 20;
/// The most products that a visitor can have been shown at once.
const MAX_SHOWN: usize = 50;

/// Why a product is recommended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// Others have bought it together with the product.
    BoughtTogether,
    /// It is bought much in the region.
    Popular,
    /// It is bought much in other regions.
    PopularElsewhere,
    /// It is new.
    New,
}

impl Source {
    fn word(self) -> &'static str {
        match self {
            Self::BoughtTogether => "bought-together",
            Self::Popular => "popular",
            Self::PopularElsewhere => "popular-elsewhere",
            Self::New => "new",
        }
    }
}

/// A recommendation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Recommendation {
    /// Which product.
    product_id: Uuid,
    /// Its name.
    name: String,
    /// Its category.
    category: String,
    /// What it costs.
    price: Money,
    /// Why.
    source: Source,
}

/// What is popular in the region.
#[utoipa::path(get, path = "/api/v1/recommendations", security(()), responses((status = 200, body = Vec<Recommendation>)))]
pub(crate) async fn popular(
    State(recommendations): State<Recommendations>,
    context: Context,
) -> Result<Json<Vec<Recommendation>>, Refusal> {
    let mut answer = Answer::new(None);
    recommendations.add_popular(&context, &mut answer).await?;
    Ok(Json(answer.chosen))
}

/// What is bought together with a product, and what is popular, if that isn't enough.
#[utoipa::path(get, path = "/api/v1/recommendations/products/{product_id}", params(("product_id" = Uuid, Path)), security(()),
    responses((status = 200, body = Vec<Recommendation>)))]
pub(crate) async fn together(
    State(recommendations): State<Recommendations>,
    context: Context,
    Path(product_id): Path<Uuid>,
) -> Result<Json<Vec<Recommendation>>, Refusal> {
    const SQL: &str = "SELECT other_id AS product_id FROM recommendation_pair WHERE product_id = $1 ORDER BY heat DESC, other_id LIMIT $2";
    let mut answer = Answer::new(Some(product_id));
    let ids = recommendations.ids(&context, SQL, &[&product_id, &LIMIT]).await?;
    recommendations
        .add(&context, &mut answer, ids, Source::BoughtTogether)
        .await?;
    recommendations.add_popular(&context, &mut answer).await?;
    Ok(Json(answer.chosen))
}

const LIMIT: i64 = LOOKED_AT as i64;

/// What was chosen so far.
struct Answer {
    chosen: Vec<Recommendation>,
    seen: HashSet<Uuid>,
}

impl Answer {
    fn new(besides: Option<Uuid>) -> Self {
        Self {
            chosen: Vec::new(),
            seen: besides.into_iter().collect(),
        }
    }

    fn is_full(&self) -> bool {
        self.chosen.len() >= ANSWER
    }

    fn take(&mut self, products: Vec<ProductInfo>, source: Source) {
        for product in products.into_iter().filter(|product| product.on_sale) {
            let price = product.price.and_then(|price| Money::try_from(price).ok());
            let (Ok(product_id), Some(price)) = (product.product_id.parse(), price) else {
                continue;
            };
            if !self.is_full() && self.seen.insert(product_id) {
                let (name, category) = (product.name, product.category);
                self.chosen.push(Recommendation {
                    product_id,
                    name,
                    category,
                    price,
                    source,
                });
            }
        }
    }
}

impl Recommendations {
    async fn ids(&self, context: &Context, sql: &str, asked: &[Parameter<'_>]) -> Result<Vec<Uuid>, Refusal> {
        let found = self.database.read(context, Level::Ryw, async |reader| {
            let rows = reader.query(sql, asked).await?;
            Ok(rows.iter().map(|row| row.get("product_id")).collect())
        });
        found.await
    }

    /// Looks the products up and takes those that can be bought.
    async fn add(
        &self,
        context: &Context,
        answer: &mut Answer,
        ids: Vec<Uuid>,
        source: Source,
    ) -> Result<(), Refusal> {
        let product_ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        if product_ids.is_empty() || answer.is_full() {
            return Ok(());
        }
        let mut products = ProductClient::new(self.products.call(context));
        let found = products.get(GetProductsRequest { product_ids }).await?;
        answer.take(found.into_inner().products, source);
        Ok(())
    }

    async fn add_popular(&self, context: &Context, answer: &mut Answer) -> Result<(), Refusal> {
        const HERE: &str = "SELECT product_id, heat FROM recommendation_heat WHERE region = $1 ORDER BY heat DESC, product_id LIMIT $2";
        const ELSEWHERE: &str = "SELECT product_id, heat FROM recommendation_heat WHERE region <> $1 ORDER BY heat DESC, product_id LIMIT $2";
        for (sql, source) in [(HERE, Source::Popular), (ELSEWHERE, Source::PopularElsewhere)] {
            if answer.is_full() {
                return Ok(());
            }
            let ids = self.ids(context, sql, &[&self.region, &LIMIT]).await?;
            self.add(context, answer, ids, source).await?;
        }
        if answer.chosen.is_empty() {
            let mut products = ProductClient::new(self.products.call(context));
            let limit = ANSWER as u32;
            let newest = products.newest(NewestProductsRequest { limit }).await?;
            answer.take(newest.into_inner().products, Source::New);
        }
        Ok(())
    }
}

/// What a visitor was shown, and followed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Feedback {
    /// Why it was shown.
    source: Source,
    /// What was shown, in this order.
    #[schema(max_items = 50)]
    shown: Vec<Uuid>,
    /// What was followed.
    taken: Option<Uuid>,
}

/// Says what became of recommendations.
#[utoipa::path(post, path = "/api/v1/recommendations/feedback", request_body = Feedback, security(("bearer" = [])),
    responses((status = 204)))]
pub(crate) async fn feedback(
    State(recommendations): State<Recommendations>,
    context: Context,
    caller: Caller,
    Json(feedback): Json<Feedback>,
) -> Result<StatusCode, Refusal> {
    if feedback.shown.len() > MAX_SHOWN {
        return Err(Refusal::Invalid(format!(
            "at most {MAX_SHOWN} products are shown"
        )));
    }
    let events = feedback.events(&caller.user_id.to_string(), &recommendations.region);
    let told = recommendations.database.transaction(&context, async |tx| {
        for event in &events {
            let store = &recommendations.store;
            tx.tell(store, caller.user_id, event.clone()).await?;
        }
        Ok::<_, Refusal>(())
    });
    told.await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Feedback {
    fn events(self, visitor: &str, region: &str) -> Vec<RecommendationEvent> {
        let (visitor, region, source) = (
            visitor.to_owned(),
            region.to_owned(),
            self.source.word().to_owned(),
        );
        let taken = self.taken.map(|product_id| {
            RecommendationEvent::Taken(RecommendationTaken {
                visitor: visitor.clone(),
                region: region.clone(),
                source: source.clone(),
                product_id,
            })
        });
        let shown = (!self.shown.is_empty()).then_some(RecommendationEvent::Shown(RecommendationShown {
            visitor,
            region,
            source,
            products: self.shown,
        }));
        shown.into_iter().chain(taken).collect()
    }
}
