//! A shop: users and what they own by user_id, inventory by product_id, products and categories everywhere.

use crate::{
    Catalog, Collation, Column, DefaultKind, Function, FunctionKind, Index, Table, TableKind, Tables,
    Volatility,
};
use std::time::Duration;
use topology::{
    CacheLevel, CachePolicy, GateClosed, SLOT_COUNT, ShardId, Sharding, SlotMap, TableConfig, TableName,
};

pub(crate) struct Shop {
    pub(crate) catalog: Catalog,
    pub(crate) tables: Tables,
    pub(crate) search_path: Vec<String>,
    pub(crate) map: SlotMap,
}

/// `name type`, with `!` for NOT NULL, `=now` and `=seq` for defaults, `:C` for a collation by bytes, `:nd` for a
/// nondeterministic one.
fn column(text: &str) -> Column {
    let mut words = text.split(' ');
    let name = words.next().unwrap().to_owned();
    let type_name = words.next().unwrap().to_owned();
    let flags: Vec<&str> = words.collect();
    let textual = matches!(type_name.as_str(), "text" | "varchar");
    let collation = match (textual, flags.contains(&":C"), flags.contains(&":nd")) {
        (false, ..) => Collation::None,
        (_, true, _) => Collation::Bytes,
        (_, _, true) => Collation::Nondeterministic,
        _ => Collation::Deterministic,
    };
    let default = match (flags.contains(&"=now"), flags.contains(&"=seq")) {
        (true, _) => DefaultKind::Changing,
        (_, true) => DefaultKind::Sequence,
        _ => DefaultKind::None,
    };
    Column {
        name,
        type_oid: 0,
        type_name,
        collation,
        not_null: flags.contains(&"!"),
        default,
    }
}

fn table(name: &str, kind: TableKind, columns: &[&str], primary_key: &[&str]) -> Table {
    Table {
        oid: 1,
        name: TableName::new("public", name),
        kind,
        columns: columns.iter().map(|text| column(text)).collect(),
        primary_key: primary_key.iter().map(|s| (*s).to_owned()).collect(),
        indexes: vec![Index {
            columns: primary_key.iter().map(|s| (*s).to_owned()).collect(),
            unique: true,
        }],
        row_security: name == "secrets",
        published: name != "unpublished",
    }
}

#[expect(clippy::too_many_lines, reason = "a schema, table by table")]
fn catalog() -> Catalog {
    use TableKind::{Ordinary, Partition, View};
    let mut catalog = Catalog::new(1);
    for table in [
        table(
            "users",
            Ordinary,
            &[
                "user_id int8 !",
                "email text",
                "name text :C",
                "created_at timestamptz =now",
            ],
            &["user_id"],
        ),
        table(
            "orders",
            Ordinary,
            &[
                "order_id int8 ! =seq",
                "user_id int8 !",
                "status text :C",
                "total numeric",
                "placed_at timestamptz",
                "note text",
            ],
            &["order_id"],
        ),
        table(
            "order_items",
            Ordinary,
            &[
                "user_id int8 !",
                "order_id int8 !",
                "line int4 !",
                "product_id int8",
                "quantity int4",
                "weight float8",
            ],
            &["user_id", "order_id", "line"],
        ),
        table(
            "inventory",
            Ordinary,
            &["product_id int4 !", "warehouse text !", "stock int4"],
            &["product_id", "warehouse"],
        ),
        table(
            "products",
            Ordinary,
            &["product_id int8 !", "name text", "price numeric"],
            &["product_id"],
        ),
        table(
            "categories",
            Ordinary,
            &["category_id int8 ! =seq", "name text", "changed timestamptz =now"],
            &["category_id"],
        ),
        table("documents", Ordinary, &["id uuid !", "body text"], &["id"]),
        table("tags", Ordinary, &["tag text !", "n int4"], &["tag"]),
        table("folded", Ordinary, &["tag text ! :nd", "n int4"], &["tag"]),
        table("secrets", Ordinary, &["user_id int8 !", "v text"], &["user_id"]),
        table("settings", Ordinary, &["name text !", "value text"], &["name"]),
        table("audit", Ordinary, &["id int8 !", "what text"], &["id"]),
        table("big_orders", View, &["order_id int8", "user_id int8"], &[]),
        table("orders_2024", Partition, &["order_id int8", "user_id int8"], &[]),
    ] {
        catalog.insert_table(table);
    }
    for (name, schema, volatility, kind) in [
        ("now", "pg_catalog", Volatility::Stable, FunctionKind::Plain),
        ("version", "pg_catalog", Volatility::Stable, FunctionKind::Plain),
        ("lower", "pg_catalog", Volatility::Immutable, FunctionKind::Plain),
        ("random", "pg_catalog", Volatility::Volatile, FunctionKind::Plain),
        ("nextval", "pg_catalog", Volatility::Volatile, FunctionKind::Plain),
        (
            "set_config",
            "pg_catalog",
            Volatility::Volatile,
            FunctionKind::Plain,
        ),
        (
            "pg_advisory_lock",
            "pg_catalog",
            Volatility::Volatile,
            FunctionKind::Plain,
        ),
        (
            "pg_backend_pid",
            "pg_catalog",
            Volatility::Stable,
            FunctionKind::Plain,
        ),
        (
            "pg_table_is_visible",
            "pg_catalog",
            Volatility::Stable,
            FunctionKind::Plain,
        ),
        (
            "generate_series",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Plain,
        ),
        (
            "row_number",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Window,
        ),
        (
            "count",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Aggregate,
        ),
        (
            "sum",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Aggregate,
        ),
        (
            "min",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Aggregate,
        ),
        (
            "max",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Aggregate,
        ),
        (
            "avg",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Aggregate,
        ),
        (
            "array_agg",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Aggregate,
        ),
        (
            "string_agg",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Aggregate,
        ),
        (
            "pg_get_expr",
            "pg_catalog",
            Volatility::Stable,
            FunctionKind::Plain,
        ),
        (
            "array_to_string",
            "pg_catalog",
            Volatility::Stable,
            FunctionKind::Plain,
        ),
        ("array", "pg_catalog", Volatility::Stable, FunctionKind::Plain),
        ("unnest", "pg_catalog", Volatility::Immutable, FunctionKind::Plain),
        (
            "array_length",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Plain,
        ),
        (
            "format_type",
            "pg_catalog",
            Volatility::Stable,
            FunctionKind::Plain,
        ),
        (
            "pg_get_partkeydef",
            "pg_catalog",
            Volatility::Stable,
            FunctionKind::Plain,
        ),
        (
            "col_description",
            "pg_catalog",
            Volatility::Stable,
            FunctionKind::Plain,
        ),
        (
            "quote_ident",
            "pg_catalog",
            Volatility::Immutable,
            FunctionKind::Plain,
        ),
        ("discount", "public", Volatility::Immutable, FunctionKind::Plain),
        ("close_month", "public", Volatility::Volatile, FunctionKind::Plain),
    ] {
        catalog.insert_function(
            name,
            Function {
                schema: schema.to_owned(),
                volatility,
                kind,
            },
        );
    }
    catalog
}

fn listed(name: &str, sharding: Sharding, cached: bool) -> TableConfig {
    let cache = cached.then_some(CachePolicy {
        level: CacheLevel::Ryw,
        bound: Duration::from_secs(5),
        ttl: Duration::from_secs(60),
        max_bytes: 8192,
        on_gate_closed: GateClosed::Origin,
    });
    TableConfig {
        name: TableName::new("public", name),
        sharding,
        cache,
        replica_bound: Duration::from_secs(2),
    }
}

fn hash(column: &str, colocation: &str) -> Sharding {
    Sharding::Hash {
        column: column.to_owned(),
        colocation: colocation.to_owned(),
    }
}

impl Shop {
    pub(crate) fn two_shards() -> Self {
        Self::new(2)
    }

    pub(crate) fn new(shards: u16) -> Self {
        let tables = vec![
            listed("users", hash("user_id", "user"), true),
            listed("orders", hash("user_id", "user"), true),
            listed("order_items", hash("user_id", "user"), true),
            listed("secrets", hash("user_id", "user"), true),
            listed("inventory", hash("product_id", "product"), false),
            listed("documents", hash("id", "document"), true),
            listed("tags", hash("tag", "tag"), false),
            listed("folded", hash("tag", "folded"), false),
            listed("missing", hash("id", "missing"), false),
            listed("products", Sharding::Reference, true),
            listed("categories", Sharding::Reference, false),
            listed(
                "audit",
                Sharding::Single {
                    shard: ShardId(shards - 1),
                },
                false,
            ),
        ];
        let owners = (0..SLOT_COUNT)
            .map(|slot| ShardId(slot / (SLOT_COUNT / shards)))
            .collect();
        Self {
            catalog: catalog(),
            tables: Tables::new(tables, ShardId(0), shards, Duration::from_secs(10)),
            search_path: vec!["$user".to_owned(), "public".to_owned()],
            map: SlotMap::new(1, owners).unwrap(),
        }
    }
}
