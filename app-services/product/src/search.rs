//! The search: by words, and where no word fits, by what they look like.
#![allow(unused_qualifications, reason = "made by utoipa's macro")]

use crate::Refusal;
use crate::catalogue::{Product, columns, page_size};
use ringway_sdk::web::{Json, Query, Reads};
use ringway_sdk::{Parameter, Result, Row, check_bounds, check_length, from_row};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The longest text that is searched for, in characters.
const MAX_TEXT: usize = 200;
/// How far a search can be paged through.
const MAX_OFFSET: u16 = 1000;

/// What is searched for.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct Search {
    /// The words; `"in this order"`, `or` and `-not` are understood.
    #[param(min_length = 1, max_length = 200)]
    q: String,
    /// Only this category, by its short name.
    category: Option<String>,
    /// Only this brand.
    brand: Option<String>,
    /// At least this price.
    #[param(minimum = 0)]
    min_cents: Option<i64>,
    /// At most this price.
    #[param(minimum = 0)]
    max_cents: Option<i64>,
    /// The most products of the page.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u16>,
    /// How many products to pass over.
    #[param(maximum = 1000)]
    offset: Option<u16>,
}

/// How the words were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Match {
    /// As they are, apart from their endings.
    Words,
    /// By what they look like: no product has the words themselves.
    Similar,
}

/// So many products have this value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Facet {
    /// The value.
    pub value: String,
    /// How many.
    pub count: i64,
}

/// What was found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Found {
    /// How the words were taken.
    pub matched: Match,
    /// The best first.
    pub products: Vec<Product>,
    /// How many there are in all.
    pub total: i64,
    /// The categories of what would be found without one.
    pub categories: Vec<Facet>,
    /// The brands of what would be found without one.
    pub brands: Vec<Facet>,
}

/// What a match is, how well it fits, and what is left by the filters: $2 category, $3 brand, $4 and $5 prices.
macro_rules! found {
    ($fits:literal, $score:literal) => {
        concat!(
            "WITH asked AS (SELECT websearch_to_tsquery('english', $1) AS words), found AS (SELECT i.*, ",
            $score,
            " AS score FROM product_item i, asked WHERE on_sale AND ",
            $fits,
            " AND ($4::bigint IS NULL OR amount_cents >= $4) AND ($5::bigint IS NULL OR amount_cents <= $5))"
        )
    };
}

/// The page: $6 limit, $7 offset.
macro_rules! page {
    ($found:expr) => {
        concat!(
            $found,
            " SELECT ",
            columns!(),
            " FROM found WHERE ($2::text IS NULL OR category = $2) AND ($3::text IS NULL OR brand = $3) \
             ORDER BY score DESC, product_id LIMIT $6 OFFSET $7"
        )
    };
}

/// Each facet counts what the other's filter leaves.
macro_rules! facets {
    ($found:expr) => {
        concat!(
            $found,
            " SELECT 'category' AS facet, category AS value, count(*) AS products FROM found \
             WHERE ($3::text IS NULL OR brand = $3) GROUP BY category \
             UNION ALL SELECT 'brand', brand, count(*) FROM found WHERE ($2::text IS NULL OR category = $2) GROUP BY brand \
             UNION ALL SELECT 'all', '', count(*) FROM found \
             WHERE ($2::text IS NULL OR category = $2) AND ($3::text IS NULL OR brand = $3) \
             ORDER BY products DESC, value"
        )
    };
}

impl Match {
    fn page(self) -> &'static str {
        match self {
            Self::Words => page!(found!(
                "i.words @@ asked.words",
                "ts_rank_cd(i.words, asked.words)"
            )),
            Self::Similar => page!(found!("$1 <% i.name", "word_similarity($1, i.name)")),
        }
    }

    fn facets(self) -> &'static str {
        match self {
            Self::Words => facets!(found!("i.words @@ asked.words", "0")),
            Self::Similar => facets!(found!("$1 <% i.name", "0")),
        }
    }
}

/// Searches the catalogue.
#[utoipa::path(get, path = "/api/v1/products", params(Search), security(()),
    responses((status = 200, body = Found)))]
pub(crate) async fn search(reads: Reads, Query(search): Query<Search>) -> Result<Json<Found>, Refusal> {
    check_length("q", &search.q, 1..=MAX_TEXT)?;
    let limit = i64::from(page_size(search.limit)?);
    let offset = check_bounds("offset", search.offset.unwrap_or_default(), 0..=MAX_OFFSET)?;
    let mut found = search.look(&reads, Match::Words, limit, offset.into()).await?;
    if found.total == 0 {
        found = search.look(&reads, Match::Similar, limit, offset.into()).await?;
    }
    Ok(Json(found))
}

impl Search {
    async fn look(&self, reads: &Reads, matched: Match, limit: i64, offset: i64) -> Result<Found> {
        let asked: [Parameter<'_>; 5] = [
            &self.q,
            &self.category,
            &self.brand,
            &self.min_cents,
            &self.max_cents,
        ];
        let facets = reads.rows(matched.facets(), &asked).await?;
        let facet = |row: &Row| from_row!(row => Facet { value; count: row.get("products") });
        let of = |name: &str| -> Vec<Facet> {
            let rows = facets.iter().filter(|row| row.get::<_, &str>("facet") == name);
            rows.map(facet).collect()
        };
        let total = of("all").first().map_or(0, |all| all.count);
        let mut products = Vec::new();
        if total > offset {
            let mut asked = asked.to_vec();
            asked.extend([&limit as Parameter<'_>, &offset]);
            let rows = reads.rows(matched.page(), &asked).await?;
            products = rows.iter().map(Product::read).collect::<Result<_, _>>()?;
        }
        Ok(Found {
            matched,
            products,
            total,
            categories: of("category"),
            brands: of("brand"),
        })
    }
}
