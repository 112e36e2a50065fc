//! Statements made from a seed: reads with all sorts of conditions, orders, limits, aggregates and joins, and writes with
//! the same conditions. Ringway must answer as PostgreSQL does, or refuse.

use std::fmt::Write;

use crate::case::{Case, Expected, Order, Protocol, Step};

/// A small generator of numbers: the same seed gives the same statements.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*; the high bits are the good ones.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or(0) % bound
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.below(from.len());
        from.get(at).copied().unwrap_or_default()
    }
}

struct Table {
    name: &'static str,
    /// The shard key; empty for a reference table.
    key: &'static str,
    primary_key: &'static [&'static str],
    columns: &'static [&'static str],
    numbers: &'static [&'static str],
    /// Conditions on other columns than the key.
    conditions: &'static [&'static str],
    /// No other table refers to it, so its rows may be deleted.
    is_leaf: bool,
    assignments: &'static [&'static str],
}

const TABLES: [Table; 5] = [
    Table {
        name: "orders",
        key: "user_id",
        primary_key: &["user_id", "order_id"],
        columns: &[
            "user_id",
            "order_id",
            "status",
            "total",
            "currency",
            "placed_at",
            "note",
        ],
        numbers: &["order_id", "total"],
        conditions: &[
            "status = 'delivered'",
            "status <> 'delivered'",
            "total > 300",
            "total BETWEEN 50 AND 150.5",
            "note IS NULL",
            "note IS NOT NULL",
            "placed_at < '2024-06-01'",
            "order_id % 3 = 0",
            "order_id IN (1, 17, 500, 999)",
            "status IN ('paid', 'shipped')",
            "note LIKE '%e%'",
        ],
        is_leaf: false,
        assignments: &[
            "note = 'changed'",
            "total = total + 1",
            "note = NULL, currency = 'EUR'",
            "status = 'paid'",
        ],
    },
    Table {
        name: "users",
        key: "user_id",
        primary_key: &["user_id"],
        columns: &[
            "user_id",
            "email",
            "name",
            "country",
            "birth_date",
            "vip",
            "balance",
            "external_id",
            "created_at",
        ],
        numbers: &["user_id", "balance"],
        conditions: &[
            "vip",
            "NOT vip",
            "balance > 0",
            "birth_date IS NULL",
            "birth_date > '1980-01-01'",
            "country IN ('DE', 'FR', 'ES')",
            "name < 'M'",
            "preferences->>'theme' = 'dark'",
        ],
        is_leaf: false,
        assignments: &[
            "balance = balance * 2",
            "vip = NOT vip",
            "birth_date = NULL",
            "name = upper(name)",
        ],
    },
    Table {
        name: "reviews",
        key: "user_id",
        primary_key: &["user_id", "review_id"],
        columns: &[
            "user_id",
            "review_id",
            "product_id",
            "rating",
            "title",
            "body",
            "created_at",
        ],
        numbers: &["review_id", "rating"],
        conditions: &[
            "rating = 5",
            "rating < 4",
            "body IS NULL",
            "title > 'G'",
            "product_id < 10",
        ],
        is_leaf: true,
        assignments: &["rating = 3", "body = title", "title = title || '!'"],
    },
    Table {
        name: "inventory",
        key: "product_id",
        primary_key: &["product_id"],
        columns: &["product_id", "warehouse", "on_hand", "reserved", "updated_at"],
        numbers: &["on_hand", "reserved"],
        conditions: &["on_hand = 0", "on_hand > 100", "reserved < 5", "warehouse > 'b'"],
        is_leaf: true,
        assignments: &["on_hand = on_hand + 1", "reserved = 0", "on_hand = reserved - 1"],
    },
    Table {
        name: "products",
        key: "",
        primary_key: &["product_id"],
        columns: &[
            "product_id",
            "category_id",
            "sku",
            "name",
            "price",
            "weight_kg",
            "active",
            "created_at",
        ],
        numbers: &["product_id", "price"],
        conditions: &[
            "price > 50",
            "active",
            "weight_kg IS NULL",
            "product_id = 7",
            "category_id IN (1, 2, 12)",
        ],
        is_leaf: false,
        assignments: &["price = price + 1", "weight_kg = NULL", "name = lower(name)"],
    },
];

/// The case of a number.
pub(crate) fn case(seed: usize) -> Case {
    let mut random = Random::new(seed as u64 + 1);
    let at = random.below(TABLES.len());
    let table = TABLES.get(at).unwrap_or(&TABLES[0]);
    let (sql, order) = match random.below(10) {
        0..5 => rows(table, &mut random),
        5..7 => (aggregates(table, &mut random), Order::Unordered),
        7 => (join(table, &mut random), Order::Unordered),
        _ => (write(table, &mut random), Order::Unordered),
    };
    let step = Step {
        sql,
        order,
        expected: Expected::Equal,
        ..Step::default()
    };
    Case {
        line: seed,
        steps: vec![step],
        rollback: true,
        protocol: Protocol::Any,
    }
}

fn key(random: &mut Random) -> usize {
    random.below(60)
}

fn condition(table: &Table, random: &mut Random) -> String {
    let column = if table.key.is_empty() {
        "product_id"
    } else {
        table.key
    };
    if random.percent(45) {
        return random.pick(table.conditions).to_owned();
    }
    let (a, b, c) = (key(random), key(random), key(random));
    match random.below(10) {
        0..3 => format!("{column} = {a}"),
        3 => format!("{column} IN ({a}, {b}, {c})"),
        4 => format!("{column} = ANY ('{{{a},{b}}}')"),
        5 => format!("{column} BETWEEN {a} AND {}", a + b),
        6 => format!("({column} = {a} OR {column} = {b})"),
        7 => format!("{column} = '{a}'"),
        8 => format!("{column} > {a}"),
        _ => format!("NOT {column} = {a}"),
    }
}

fn conditions(table: &Table, random: &mut Random) -> String {
    let mut text = String::new();
    let count = random.below(4);
    for n in 0..count {
        let joint = match (n, random.percent(75)) {
            (0, _) => " WHERE ",
            (_, true) => " AND ",
            (_, false) => " OR ",
        };
        text.push_str(joint);
        text.push_str(&condition(table, random));
    }
    text
}

fn some(from: &[&str], random: &mut Random) -> String {
    let count = 1 + random.below(3);
    let picked: Vec<&str> = (0..count).map(|_| random.pick(from)).collect();
    picked.join(", ")
}

fn rows(table: &Table, random: &mut Random) -> (String, Order) {
    let mut sql = String::from("SELECT ");
    match random.below(6) {
        0 => sql.push('*'),
        1 => write_into(
            &mut sql,
            format_args!("t.*, {} AS more", random.pick(table.numbers)),
        ),
        2 if random.percent(30) => {
            write_into(&mut sql, format_args!("DISTINCT {}", random.pick(table.columns)))
        }
        _ => sql.push_str(&some(table.columns, random)),
    }
    let is_distinct = sql.contains("DISTINCT");
    write_into(
        &mut sql,
        format_args!(" FROM {} t{}", table.name, conditions(table, random)),
    );
    if is_distinct || random.percent(30) {
        return (sql, Order::Unordered);
    }
    sql.push_str(" ORDER BY ");
    for _ in 0..random.below(3) {
        let direction = random.pick(&[
            "",
            " DESC",
            " ASC NULLS FIRST",
            " DESC NULLS LAST",
            " NULLS FIRST",
        ]);
        write_into(
            &mut sql,
            format_args!("t.{}{direction}, ", random.pick(table.columns)),
        );
    }
    // The primary key decides what is left, so that there is one right order.
    let rest: Vec<String> = table
        .primary_key
        .iter()
        .map(|column| format!("t.{column}"))
        .collect();
    sql.push_str(&rest.join(", "));
    if random.percent(60) {
        write_into(&mut sql, format_args!(" LIMIT {}", random.below(30)));
    }
    if random.percent(30) {
        write_into(&mut sql, format_args!(" OFFSET {}", random.below(30)));
    }
    (sql, Order::Ordered)
}

fn aggregates(table: &Table, random: &mut Random) -> String {
    let one = |random: &mut Random| {
        let (column, number) = (random.pick(table.columns), random.pick(table.numbers));
        match random.below(12) {
            0..3 => "count(*)".to_owned(),
            3 => format!("count({column})"),
            4..6 => format!("sum({number})"),
            6..8 => format!("min({number})"),
            8 => format!("max({number})"),
            9 => format!("max({})", table.primary_key.last().copied().unwrap_or_default()),
            10 => format!("count(*) FILTER (WHERE {})", random.pick(table.conditions)),
            _ => format!("avg({number})"),
        }
    };
    let count = 1 + random.below(3);
    let list: Vec<String> = (0..count).map(|_| one(random)).collect();
    format!(
        "SELECT {} FROM {}{}",
        list.join(", "),
        table.name,
        conditions(table, random)
    )
}

fn join(table: &Table, random: &mut Random) -> String {
    let where_ = conditions(table, random);
    let kind = random.pick(&["JOIN", "LEFT JOIN"]);
    // Without a table before them, columns of the conditions would be ambiguous: the table is a subquery.
    let inner = format!("(SELECT * FROM {}{where_}) t", table.name);
    match table.key {
        "" => {
            format!("SELECT t.name, c.name FROM {inner} {kind} categories c ON c.category_id = t.category_id")
        }
        "product_id" => {
            format!("SELECT t.*, p.price FROM {inner} {kind} products p ON p.product_id = t.product_id")
        }
        _ => {
            let other = random.pick(&["users", "payments", "shipments"]);
            format!("SELECT t.*, o.* FROM {inner} {kind} {other} o ON o.user_id = t.user_id")
        }
    }
}

fn write(table: &Table, random: &mut Random) -> String {
    let returning = random.pick(&["", " RETURNING *"]);
    let where_ = conditions(table, random);
    if table.is_leaf && random.percent(40) {
        return format!("DELETE FROM {}{where_}{returning}", table.name);
    }
    let assignment = random.pick(table.assignments);
    format!("UPDATE {} SET {assignment}{where_}{returning}", table.name)
}

fn write_into(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = text.write_fmt(arguments);
}
