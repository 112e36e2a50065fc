//! SQL text: cut into template and literals, analysed, planned.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, ensure};
use planner::{
    Catalog, Collation, Column, DefaultKind, Function, FunctionKind, Request, Table, TableKind, Tables,
    Template, Values, Volatility,
};
use sql::{MAX_LITERALS, Normaliser};
use topology::{SLOT_COUNT, ShardId, Sharding, SlotMap, TableConfig, TableName};

use crate::mutate::Shape;
use crate::target::{Target, Trace, seeds, variant};

pub(crate) const TARGETS: &[Target] = &[
    Target::new("normalise", normalise, statements)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(24)
        .memory(2048, 64),
    Target::new("hints", hints, hint_texts)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(8)
        .memory(1024, 64),
    Target::new("plan", plan, statements)
        .shape(Shape::Text)
        .words(WORDS)
        .weight(3)
        .memory(512 * 1024, 16 * 1024),
];

const WORDS: &[&str] = &[
    "'",
    "''",
    "\"",
    "$1",
    "$$",
    "$a$",
    "E'",
    "\\'",
    "B'1'",
    "X'ff'",
    "U&'",
    "--",
    "\n",
    "/*",
    "*/",
    "/* ringway: level=strong */",
    ";",
    "(",
    ")",
    "::int",
    "1",
    "1.5e3",
    ".5",
    "0x1F",
    "1_000",
    "SELECT ",
    "FROM users ",
    "WHERE user_id = ",
    " AND ",
    " OR ",
    "IN (1, 2)",
    "ORDER BY 1 ",
    "LIMIT 1 ",
    "OFFSET 2 ",
    "GROUP BY ",
    "JOIN orders USING (user_id) ",
    "INSERT INTO users ",
    "VALUES (1, 'a'), (2, 'b') ",
    "UPDATE users SET ",
    "DELETE FROM users ",
    "RETURNING * ",
    "COPY users FROM STDIN ",
    "(FORMAT csv) ",
    "BEGIN;",
    "COMMIT;",
    "SAVEPOINT a;",
    "SET timezone = 'UTC';",
    "date '2024-01-01'",
    "interval '1 day'",
    "ARRAY[1,2]",
    "CAST(1 AS int)",
    "count(*)",
    "sum(user_id)",
    "now()",
    "\u{e4}",
    "\u{a0}",
    "WITH a AS (SELECT 1) ",
    "UNION ALL ",
    "EXPLAIN (ROUTE) ",
    "LISTEN c;",
    "ON CONFLICT DO NOTHING ",
    "user_id",
    "users",
    "order_id",
];

fn normalise(input: &[u8], trace: &mut Trace) -> Result<()> {
    let mut normaliser = Normaliser::new();
    let normalised = normaliser.normalise(input);
    trace.saw(u64::from(normalised.exact_text_only));
    if normalised.exact_text_only {
        ensure!(normalised.template == input && normalised.literals.is_empty());
        return Ok(());
    }
    ensure!(normalised.literals.len() <= MAX_LITERALS);
    let mut end = 0;
    for literal in normalised.literals {
        ensure!(
            literal.start >= end && literal.end > literal.start,
            "{literal:?} after {end}"
        );
        end = literal.end;
        ensure!(literal.source(input).len() == (literal.end - literal.start) as usize);
        trace.saw(variant(&literal.kind));
        trace.saw(u64::from(literal.value(input).is_some()));
    }
    // Each literal is one parameter of the template, in order.
    let mut rest = normalised.template;
    for number in 1..=normalised.literals.len() {
        let parameter = format!("${number}");
        let at = memchr::memmem::find(rest, parameter.as_bytes());
        let Some(at) = at else {
            anyhow::bail!("{parameter} is not in {}", normalised.template.escape_ascii());
        };
        rest = rest.get(at + parameter.len()..).unwrap_or_default();
    }
    Ok(())
}

fn hints(input: &[u8], trace: &mut Trace) -> Result<()> {
    let Ok(text) = std::str::from_utf8(input) else {
        return Ok(());
    };
    trace.took(1, &sql::hints(text));
    trace.saw(u64::from(sql::parse_level(text).is_some()));
    trace.saw(u64::from(sql::is_relative_time(input)));
    Ok(())
}

/// A shop of two shards.
struct Shop {
    catalog: Catalog,
    tables: Tables,
    search_path: Vec<String>,
    map: SlotMap,
}

/// A text as the server handles it: normalised, planned by its template, bound, explained; and as a prepared statement.
fn plan(input: &[u8], trace: &mut Trace) -> Result<()> {
    let shop = shop();
    let mut normaliser = Normaliser::new();
    let normalised = normaliser.normalise(input);
    let Ok(text) = std::str::from_utf8(normalised.template) else {
        return Ok(());
    };
    let template = prepare(shop, text);
    trace.saw(template.len().min(4) as u64 + 8 * u64::from(template.needs_exact_text()));
    let literals = normalised.literals;
    let values = Values::Literals { sql: input, literals };
    bind(shop, &template, &values, trace)?;
    if let Ok(own) = std::str::from_utf8(input) {
        let template = prepare(shop, own);
        bind(shop, &template, &Values::None, trace)?;
        let values = [Some(&b"42"[..]), None, Some(b"\0\0\0\0\0\0\0\x07")];
        let bound = Values::Bind {
            values: &values,
            formats: &[0, 0, 1],
            types: &[20, 25],
        };
        bind(shop, &template, &bound, trace)?;
    }
    Ok(())
}

fn prepare(shop: &Shop, text: &str) -> Template {
    Template::prepare(&Request {
        text,
        catalog: &shop.catalog,
        tables: &shop.tables,
        search_path: &shop.search_path,
        user: "shop",
    })
}

fn bind(shop: &Shop, template: &Template, values: &Values<'_>, trace: &mut Trace) -> Result<()> {
    for index in 0..template.len() + 1 {
        let plan = template.bind(index, values, &shop.map);
        trace.saw(variant(&plan.route));
        ensure!(template.range(index).is_some() == (index < template.len()));
        planner::explain::rows(&plan, &|_| None);
    }
    Ok(())
}

fn shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| {
        let mut catalog = Catalog::new(1);
        let mut tables = Vec::new();
        for (name, columns, sharding) in [
            (
                "users",
                &[
                    "user_id int8",
                    "email text",
                    "name text",
                    "balance numeric",
                    "created_at timestamptz",
                ][..],
                hash("user_id"),
            ),
            (
                "orders",
                &[
                    "order_id int8",
                    "user_id int8",
                    "status text",
                    "total numeric",
                    "placed_at timestamptz",
                ],
                hash("user_id"),
            ),
            (
                "inventory",
                &["product_id int4", "warehouse text", "stock int4"],
                hash("product_id"),
            ),
            ("documents", &["id uuid", "body text"], hash("id")),
            (
                "products",
                &["product_id int8", "name text", "price numeric"],
                Sharding::Reference,
            ),
            (
                "audit",
                &["id int8", "what text"],
                Sharding::Single { shard: ShardId(1) },
            ),
        ] {
            let table = TableName::new("public", name);
            catalog.insert_table(described(&table, columns));
            tables.push(TableConfig {
                name: table,
                sharding,
                cache: None,
                replica_bound: Duration::from_secs(2),
            });
        }
        for (name, volatility, kind) in [
            ("now", Volatility::Stable, FunctionKind::Plain),
            ("count", Volatility::Immutable, FunctionKind::Aggregate),
            ("sum", Volatility::Immutable, FunctionKind::Aggregate),
            ("random", Volatility::Volatile, FunctionKind::Plain),
        ] {
            let schema = "pg_catalog".to_owned();
            catalog.insert_function(
                name,
                Function {
                    schema,
                    volatility,
                    kind,
                },
            );
        }
        let owners = (0..SLOT_COUNT)
            .map(|slot| ShardId(slot / (SLOT_COUNT / 2)))
            .collect();
        Shop {
            catalog,
            tables: Tables::new(tables, ShardId(0), 2, Duration::from_secs(10)),
            search_path: vec!["$user".to_owned(), "public".to_owned()],
            map: SlotMap::new(1, owners).unwrap_or_else(|_| unreachable!("every slot has an owner")),
        }
    })
}

fn hash(column: &str) -> Sharding {
    Sharding::Hash {
        column: column.to_owned(),
        colocation: column.to_owned(),
    }
}

fn described(name: &TableName, columns: &[&str]) -> Table {
    let column = |text: &&str| {
        let (name, type_name) = text.split_once(' ').unwrap_or((text, "text"));
        Column {
            name: name.to_owned(),
            type_oid: 0,
            type_name: type_name.to_owned(),
            collation: if type_name == "text" {
                Collation::Bytes
            } else {
                Collation::None
            },
            not_null: false,
            default: DefaultKind::None,
        }
    };
    let columns: Vec<Column> = columns.iter().map(column).collect();
    Table {
        oid: 1,
        name: name.clone(),
        kind: TableKind::Ordinary,
        primary_key: columns.iter().take(1).map(|column| column.name.clone()).collect(),
        columns,
        indexes: Vec::new(),
        row_security: false,
        published: true,
    }
}

/// The statements of the differential test.
fn statements() -> Vec<Vec<u8>> {
    const FILES: [&str; 12] = [
        include_str!("../../differential/statements/01_keys.sql"),
        include_str!("../../differential/statements/02_joins.sql"),
        include_str!("../../differential/statements/03_scatter.sql"),
        include_str!("../../differential/statements/04_types.sql"),
        include_str!("../../differential/statements/06_writes.sql"),
        include_str!("../../differential/statements/07_transactions.sql"),
        include_str!("../../differential/statements/08_copy.sql"),
        include_str!("../../differential/statements/10_session.sql"),
        include_str!("../../differential/statements/12_together.sql"),
        include_str!("../../differential/statements/13_catalog.sql"),
        include_str!("../../differential/statements/14_ddl.sql"),
        include_str!("../../differential/statements/16_spellings.sql"),
    ];
    FILES
        .iter()
        .flat_map(|file| file.lines())
        .filter(|line| !line.starts_with("--") && !line.trim().is_empty())
        .map(|line| line.as_bytes().to_vec())
        .collect()
}

fn hint_texts() -> Vec<Vec<u8>> {
    seeds([
        b"/* ringway: level=bounded(2s) cache=off */ SELECT 1",
        b"-- ringway: level=ryw\nSELECT 1",
        b"bounded(150ms)",
        b"yesterday",
    ])
}
