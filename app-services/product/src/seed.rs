//! A catalogue to try the shop with: the same products each time.

use crate::staff::Draft;
use crate::{Catalogue, Refusal};
use ringway_sdk::service::Environment;
use ringway_sdk::{Context, Transaction};
use shop_contracts::{Currency, Money};
use uuid::Uuid;

/// Products are made by so many at a time.
const AT_ONCE: usize = 8;

/// What is sold: the category's short name, its name, and the kinds of things in it.
const CATEGORIES: [(&str, &str, [&str; 5]); 8] = [
    (
        "keyboards",
        "Keyboards and mice",
        [
            "wireless keyboard",
            "mechanical keyboard",
            "ergonomic mouse",
            "numeric keypad",
            "wrist rest",
        ],
    ),
    (
        "audio",
        "Audio",
        [
            "over-ear headphones",
            "in-ear headphones",
            "desk speaker",
            "USB microphone",
            "turntable",
        ],
    ),
    (
        "kitchen",
        "Kitchen",
        [
            "coffee grinder",
            "electric kettle",
            "cast iron pan",
            "chef's knife",
            "bread tin",
        ],
    ),
    (
        "outdoor",
        "Outdoor",
        [
            "trail running shoes",
            "two-person tent",
            "sleeping bag",
            "trekking poles",
            "head torch",
        ],
    ),
    (
        "clothing",
        "Clothing",
        [
            "linen shirt",
            "wool jumper",
            "rain jacket",
            "denim jeans",
            "cotton socks",
        ],
    ),
    (
        "garden",
        "Garden",
        [
            "pruning shears",
            "watering can",
            "potting soil",
            "garden hose",
            "raised bed",
        ],
    ),
    (
        "books",
        "Books",
        [
            "cookbook",
            "travel guide",
            "detective novel",
            "field guide to birds",
            "city atlas",
        ],
    ),
    (
        "toys",
        "Toys",
        [
            "wooden train",
            "jigsaw puzzle",
            "building blocks",
            "kite",
            "board game",
        ],
    ),
];
const BRANDS: [&str; 6] = [
    "Northwind",
    "Halden",
    "Fable & Co",
    "Ostrava",
    "Little Finch",
    "Meridian",
];
const MANNERS: [&str; 8] = [
    "compact", "classic", "light", "robust", "quiet", "foldable", "large", "everyday",
];
const COLOURS: [&str; 7] = [
    "black",
    "white",
    "forest green",
    "navy blue",
    "red",
    "sand",
    "grey",
];

/// The id of a product of the seed.
pub fn product_id(number: u32) -> Uuid {
    Uuid::new_v5(
        &Uuid::NAMESPACE_URL,
        format!("ringway-shop/product/{number}").as_bytes(),
    )
}

fn pick<T: Copy, const N: usize>(choices: &[T; N], number: u32) -> T {
    choices[number as usize % N]
}

/// A product of the seed.
pub fn draft(number: u32) -> Draft {
    let (category, _, things) = pick(&CATEGORIES, number);
    let rest = number / CATEGORIES.len() as u32;
    let (thing, rest) = (pick(&things, rest), rest / things.len() as u32);
    let (manner, colour) = (pick(&MANNERS, rest), pick(&COLOURS, number / 3));
    let brand = pick(&BRANDS, number / 7);
    let mut name = format!("{manner} {thing}, {colour}");
    name[..1].make_ascii_uppercase();
    Draft {
        category: category.to_owned(),
        sku: format!("{}-{number:05}", category[..2].to_uppercase()),
        description: format!(
            "The {manner} {thing} by {brand}, in {colour}. Made to be used for years, and to be repaired."
        ),
        name,
        brand: brand.to_owned(),
        price: Money::new(i64::from(499 + number * 7919 % 19_500), Currency::USD),
        weight_grams: 100 + number * 31 % 4_000,
        on_sale: true,
    }
}

/// Adds what is missing of the first `products` products, and their categories.
///
/// # Errors
/// Ringway's.
pub async fn seed(environment: &Environment, products: u32) -> Result<(), Refusal> {
    const CATEGORY: &str = "INSERT INTO product_category (category_id, slug, name) VALUES ($1, $2, $3) ON CONFLICT (slug) DO NOTHING";
    let catalogue = Catalogue::new(environment)?;
    let context = Context::background();
    let made = catalogue.database.transaction(&context, async |tx: Transaction| {
        for (slug, name, _) in &CATEGORIES {
            let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, slug.as_bytes());
            tx.execute(CATEGORY, &[&id, slug, name]).await?;
        }
        Ok::<_, Refusal>(())
    });
    made.await?;
    let numbers: Vec<u32> = (0..products).collect();
    for some in numbers.chunks(AT_ONCE) {
        let added = some.iter().map(|number| catalogue.add_missing(&context, *number));
        futures_util::future::try_join_all(added).await?;
    }
    Ok(())
}

impl Catalogue {
    async fn add_missing(&self, context: &Context, number: u32) -> Result<(), Refusal> {
        let id = product_id(number);
        let added = self.database.transaction(context, async |tx| {
            let known = tx
                .query_opt("SELECT 1 FROM product_item WHERE product_id = $1", &[&id])
                .await?;
            match known {
                Some(_) => Ok(()),
                None => self.insert(&tx, id, &draft(number), Uuid::nil()).await.map(drop),
            }
        });
        added.await
    }
}
