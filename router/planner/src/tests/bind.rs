//! The same value as a literal, a text parameter and a binary parameter leads to the same shard.

use super::shop::Shop;
use super::{plans, render};
use crate::{KeyValue, Plan, Route, Values, slot_of};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Made once: making it for each case would be most of the time.
static SHOP: LazyLock<Shop> = LazyLock::new(Shop::two_shards);

const INT8: u32 = 20;
const TEXT: u32 = 25;
const UUID: u32 = 2950;

fn bound(shop: &Shop, sql: &str, values: &[Option<&[u8]>], formats: &[i16], types: &[u32]) -> Plan {
    let template = shop.prepare(sql);
    let values = Values::Bind {
        values,
        formats,
        types,
    };
    let plan = template.bind(0, &values, &shop.map);
    super::short_cut_agrees(shop, &template, &values, std::slice::from_ref(&plan));
    plan
}

proptest! {
    #[test]
    fn integers(number in any::<i64>()) {
        let shop = &*SHOP;
        let slot = slot_of(&KeyValue::Int(number));
        let expected = Route::Single { shard: shop.map.owner(slot), slot: Some(slot) };
        let literal = plans(shop, &format!("SELECT * FROM orders WHERE user_id = {number}"));
        let quoted = plans(shop, &format!("SELECT * FROM orders WHERE user_id = '{number}'"));
        prop_assert_eq!(&literal[0].route, &expected);
        prop_assert_eq!(&quoted[0].route, &expected);
        let sql = "SELECT * FROM orders WHERE user_id = $1";
        let (text, binary) = (number.to_string(), number.to_be_bytes());
        for types in [&[][..], &[0], &[INT8]] {
            prop_assert_eq!(&bound(shop, sql, &[Some(text.as_bytes())], &[], types).route, &expected);
            prop_assert_eq!(&bound(shop, sql, &[Some(&binary)], &[1], types).route, &expected);
        }
        let insert = plans(shop, &format!("INSERT INTO users (user_id) VALUES ({number})"));
        prop_assert_eq!(&insert[0].route, &expected);
    }

    #[test]
    fn texts(text in "[^\0]{0,20}") {
        let shop = &*SHOP;
        let slot = slot_of(&KeyValue::Text(text.as_str().into()));
        let expected = Route::Single { shard: shop.map.owner(slot), slot: Some(slot) };
        let literal = plans(shop, &format!("SELECT * FROM tags WHERE tag = '{}'", text.replace('\'', "''")));
        prop_assert_eq!(&literal[0].route, &expected);
        let sql = "SELECT * FROM tags WHERE tag = $1";
        for (format, types) in [(0, &[TEXT][..]), (1, &[TEXT]), (1, &[])] {
            prop_assert_eq!(&bound(shop, sql, &[Some(text.as_bytes())], &[format], types).route, &expected);
        }
    }

    #[test]
    fn uuids(bytes in any::<[u8; 16]>()) {
        let shop = &*SHOP;
        let key = KeyValue::Uuid(bytes);
        let slot = slot_of(&key);
        let expected = Route::Single { shard: shop.map.owner(slot), slot: Some(slot) };
        let literal = plans(shop, &format!("SELECT * FROM documents WHERE id = '{key}'"));
        prop_assert_eq!(&literal[0].route, &expected);
        let sql = "SELECT * FROM documents WHERE id = $1";
        prop_assert_eq!(&bound(shop, sql, &[Some(&bytes)], &[1], &[UUID]).route, &expected);
        let text = key.to_string();
        prop_assert_eq!(&bound(shop, sql, &[Some(text.as_bytes())], &[0], &[]).route, &expected);
    }

    #[test]
    fn arrays(numbers in proptest::collection::vec(any::<i64>(), 1..6)) {
        let shop = &*SHOP;
        let list = numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let listed = plans(shop, &format!("SELECT user_id FROM orders WHERE user_id IN ({list})"));
        let sql = "SELECT user_id FROM orders WHERE user_id = ANY ($1)";
        let text = format!("{{{list}}}");
        let by_text = bound(shop, sql, &[Some(text.as_bytes())], &[0], &[]);
        prop_assert_eq!(render(&by_text), render(&listed[0]));
        let mut binary = Vec::new();
        for word in [1, 0, 20, i32::try_from(numbers.len()).unwrap(), 1] {
            binary.extend_from_slice(&i32::to_be_bytes(word));
        }
        for number in &numbers {
            binary.extend_from_slice(&8_i32.to_be_bytes());
            binary.extend_from_slice(&number.to_be_bytes());
        }
        let by_binary = bound(shop, sql, &[Some(&binary)], &[1], &[1016]);
        prop_assert_eq!(render(&by_binary), render(&listed[0]));
    }
}

#[test]
fn parameters_of_other_types_bind_nothing() {
    let shop = &*SHOP;
    let sql = "SELECT user_id FROM orders WHERE user_id = $1";
    // numeric 42.0 equals bigint 42, but is not read here: all shards are asked.
    let plan = bound(shop, sql, &[Some(b"42.0")], &[], &[1700]);
    assert!(matches!(plan.route, Route::Scatter { .. }), "{}", render(&plan));
    let plan = bound(shop, sql, &[None], &[], &[]);
    assert_eq!(render(&plan), "single 0");
    let short = bound(shop, sql, &[Some(b"\x2a")], &[1], &[INT8]);
    assert_eq!(render(&short), "single 0");
    let mixed = "SELECT user_id FROM orders WHERE user_id = $1::int";
    let plan = bound(shop, mixed, &[Some(&42_i32.to_be_bytes())], &[1], &[]);
    assert!(
        matches!(plan.route, Route::Single { slot: Some(_), .. }),
        "{}",
        render(&plan)
    );
}

#[test]
fn parts_number_their_parameters_anew() {
    let shop = &*SHOP;
    let sql = "INSERT INTO users (user_id, name) VALUES ($1, $2), ($3, $4) RETURNING name, $5";
    let values = [Some(&b"1"[..]), Some(b"a"), Some(b"2"), Some(b"b"), Some(b"c")];
    let slots = [1, 2].map(|n| shop.map.owner(slot_of(&KeyValue::Int(n))).0);
    let plan = bound(shop, sql, &values, &[], &[]);
    if slots[0] == slots[1] {
        panic!("the two keys must be on two shards for this test");
    }
    let Route::Split { parts } = plan.route else {
        panic!("{}", render(&plan))
    };
    for part in parts {
        let text = part.text.unwrap();
        assert_eq!(
            text.text.as_ref(),
            "INSERT INTO users (user_id, name) VALUES ($1, $2) RETURNING name, $3"
        );
        let first = if part.shard.0 == slots[0] {
            vec![1, 2, 5]
        } else {
            vec![3, 4, 5]
        };
        assert_eq!(text.parameters, Some(first));
    }
}

#[test]
fn limits_are_parameters_too() {
    let shop = &*SHOP;
    let sql = "SELECT order_id FROM orders ORDER BY order_id LIMIT $1 OFFSET $2";
    let plan = bound(shop, sql, &[Some(b"10"), Some(b"20")], &[], &[]);
    let Route::Scatter { parts, merge, .. } = plan.route else {
        panic!("{}", render(&plan))
    };
    assert_eq!((merge.limit, merge.offset), (Some(10), 20));
    let text = parts[0].text.clone().unwrap();
    assert_eq!(
        text.text.as_ref(),
        "SELECT order_id FROM orders ORDER BY order_id LIMIT $1::bigint + COALESCE($2::bigint, 0)"
    );
    assert_eq!(text.parameters, Some(vec![1, 2]));
    let plan = bound(shop, sql, &[None, None], &[], &[]);
    let Route::Scatter { merge, .. } = plan.route else {
        panic!("{}", render(&plan))
    };
    assert_eq!((merge.limit, merge.offset), (None, 0));
}

#[test]
fn planning_is_quick() {
    let shop = &*SHOP;
    let sql = b"SELECT abalance FROM orders WHERE user_id = 1234567 AND x = 5";
    let mut normaliser = sql::Normaliser::new();
    let template = shop.prepare("SELECT abalance FROM orders WHERE user_id = $1 AND x = $2");
    const ROUNDS: u32 = 20_000;
    let start = std::time::Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(normaliser.normalise(std::hint::black_box(sql)));
    }
    let normalise = start.elapsed() / ROUNDS;
    let start = std::time::Instant::now();
    for _ in 0..ROUNDS {
        let normalised = normaliser.normalise(sql);
        let values = Values::Literals {
            sql,
            literals: normalised.literals,
        };
        std::hint::black_box(template.bind(0, &values, &shop.map));
    }
    println!(
        "normalise {normalise:?}, normalise and bind {:?}",
        start.elapsed() / ROUNDS
    );
}
