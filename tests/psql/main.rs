//! The real `psql` through Ringway: what it shows is what it shows on a plain PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is the failure"
)]

use std::sync::Arc;

use cluster::{Backing, Region};
use tests::{Bound, Extended, Printed, Reply, Session, Shared, Size, Terminal, World, WorldSpec, shared};

static WORLD: Shared<World> = Shared::new();

const SPEC: WorldSpec = WorldSpec {
    backing: Backing::Embedded,
    size: Size::Small,
    configuration: "",
    schema: "",
};

fn world() -> Arc<World> {
    shared(&WORLD, &SPEC).unwrap()
}

/// Runs this through Ringway and on the plain PostgreSQL.
fn both(world: &World, input: &str) -> (Printed, Printed) {
    let through = world.psql(&world.shop(Region::UsEast)).run(input).unwrap();
    let straight = world.psql(&world.straight()).run(input).unwrap();
    (through, straight)
}

/// psql must print the same, errors included, and something at all. Ringway's own publication is left out: the plain
/// server has none.
fn same(input: &str) {
    const PUBLICATION: &str = "Publications:\n    \"ringway\"\n";
    let (through, straight) = both(&world(), input);
    assert_eq!(
        through.out.replace(PUBLICATION, ""),
        straight.out,
        "{input}\n{}",
        through.err
    );
    assert_eq!(through.err, straight.err, "{input}");
    assert_ne!(through.out, "", "{input}: {}", through.err);
}

/// As [`same`], apart from numbers with a unit (sizes on disk differ, as each shard has a part of the rows).
fn same_but_for_sizes(input: &str) {
    let (through, straight) = both(&world(), input);
    assert_eq!(
        without_sizes(&through.out),
        without_sizes(&straight.out),
        "{input}\n{}",
        through.err
    );
    assert_eq!(through.err, straight.err, "{input}");
    assert!(
        through.out.contains("bytes") || through.out.contains("kB"),
        "{input}: {}",
        through.out
    );
}

fn without_sizes(text: &str) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    for at in 1..words.len() {
        if ["bytes", "kB", "MB"].contains(&words[at]) {
            words[at - 1] = "N";
            words[at] = "unit";
        }
        if words[at].chars().all(|c| c == '-' || c == '+') {
            words[at] = "---";
        }
    }
    words.join(" ")
}

#[test]
fn lists_of_relations() {
    same("\\d");
    same("\\dt");
    same("\\di");
    same("\\dv\n\\dt order*");
    same_but_for_sizes("\\dt+");
    same_but_for_sizes("\\di+");
}

#[test]
fn tables_in_detail() {
    same("\\d users");
    same("\\d+ users");
    same("\\d orders");
    same("\\d products");
    same("\\d order_items\n\\d orders_by_time");
    same("\\d nowhere\n\\d users");
}

#[test]
fn functions_types_schemas_and_roles() {
    same("\\df lower");
    same("\\df+ abs");
    same("\\dT int8");
    same("\\do ||");
    same("\\dn public");
    same("\\du shop");
    same("\\dp users");
    same("\\dC int8");
    same("\\dx");
}

#[test]
fn databases() {
    // The owner's privileges are the same, the list of a fresh server has no others.
    same("\\l shop");
}

#[test]
fn settings_and_formats() {
    same("\\timing off\n\\x\nSELECT * FROM users WHERE user_id = 3;");
    same("\\pset format csv\nSELECT * FROM users ORDER BY user_id LIMIT 5;");
    same("\\encoding\n\\echo :SERVER_VERSION_NUM :ENCODING :USER :DBNAME\nSHOW TimeZone;");
    same(
        "SET TimeZone = 'Asia/Tokyo';\nSELECT placed_at FROM orders ORDER BY placed_at LIMIT 3;\n\\dconfig TimeZone",
    );
}

#[test]
fn describing_a_result() {
    same("SELECT user_id, name, balance, created_at FROM users WHERE user_id = 3 \\gdesc");
    same("SELECT count(*), sum(total) FROM orders \\gdesc");
    same("SELECT * FROM products \\gdesc");
    same("UPDATE users SET name = name WHERE user_id = 3 \\gdesc");
    same("SELECT nothing FROM users \\gdesc\nSELECT 1;");
}

#[test]
fn variables_and_what_follows_from_results() {
    same(
        "SELECT user_id AS id FROM users WHERE user_id = 3 \\gset\n\\echo :id\nSELECT name FROM users WHERE user_id = :id;",
    );
    same(
        "SELECT 'SELECT name FROM users WHERE user_id = ' || g FROM generate_series(1, 3) g ORDER BY g \\gexec",
    );
    same(
        "SELECT status, user_id, order_id FROM orders WHERE user_id < 4 ORDER BY order_id \\crosstabview status user_id order_id\n\\echo done",
    );
    same("\\set id 5\nSELECT name FROM users WHERE user_id = :id;\n\\if :{?id}\n\\echo set\n\\endif");
}

#[test]
fn watching() {
    // psql 15 watches until it is stopped; an error ends it, and this comes with the third turn.
    let world = world();
    let script =
        "CREATE SEQUENCE turns;\nSELECT 1 / (3 - nextval('turns')) \\watch 0.05\nDROP SEQUENCE turns;";
    let through = world.psql(&world.shop(Region::UsEast)).run(script).unwrap();
    assert_eq!(
        through.out.matches("(1 row)").count(),
        2,
        "{}\n{}",
        through.out,
        through.err
    );
    assert!(through.err.contains("division by zero"), "{}", through.err);
    assert!(through.out.ends_with("DROP SEQUENCE\n"), "{}", through.out);
}

#[test]
fn copying_in_and_out() {
    let world = world();
    let folder = world.cluster().shards()[0]
        .primary
        .data()
        .join("..")
        .join("psql-test");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("orders.csv");
    let file = file.display();
    let write = format!(
        "BEGIN;\n\\copy (SELECT * FROM orders WHERE user_id = 3 ORDER BY order_id) to '{file}' csv header\n\
         \\copy reviews to '{file}.reviews'\n\
         DELETE FROM reviews;\n\\copy reviews from '{file}.reviews'\nSELECT count(*) FROM reviews;\n\
         \\copy products (product_id, name) to '{file}.products' csv\nROLLBACK;\n"
    );
    let (through, straight) = both(&world, &write);
    assert_eq!((&through.out, &through.err), (&straight.out, &straight.err));
    assert_eq!(through.err, "");
    // What was read was written here, by whichever of the two ran last: rows from a pipe go both ways as well.
    let piped = "\\copy (SELECT user_id, name FROM users WHERE user_id = 3) to stdout\n\
                 BEGIN;\n\\copy categories from stdin csv\n901,\"new, one\",\n902,two,1\n\\.\n\
                 SELECT * FROM categories WHERE category_id > 900 ORDER BY 1;\nROLLBACK;\n";
    same(piped);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn errors_and_notices() {
    let input = "SELEC 1;\nSELECT 1 / 0;\nSELECT nothing FROM users;\nINSERT INTO users (user_id) VALUES (3);\n\
                 DROP TABLE IF EXISTS nowhere;\nCOMMIT;\nBEGIN;\nBEGIN;\nROLLBACK;\nSELECT 'done';\n";
    same(input);
    same("\\set VERBOSITY verbose\nINSERT INTO users SELECT * FROM users WHERE user_id = 3;\nSELECT 1;");
    same("\\set ON_ERROR_ROLLBACK on\nBEGIN;\nSELECT 1 / 0;\nSELECT count(*) FROM orders;\nCOMMIT;");
    same("\\set ON_ERROR_STOP on\nSELECT 1;\nSELECT 1 / 0;\nSELECT 2;");
    same("\\set AUTOCOMMIT off\nSELECT count(*) FROM users;\nUPDATE users SET vip = vip;\nCOMMIT;");
}

#[test]
fn a_refusal_says_why_and_what_helps() {
    let world = world();
    let printed = world
        .psql(&world.shop(Region::UsEast))
        .run("SELECT DISTINCT status FROM orders;\nSELECT 1 AS one;")
        .unwrap();
    let lines: Vec<&str> = printed.err.lines().collect();
    assert!(lines[0].starts_with("ERROR:  "), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("DETAIL:  DISTINCT")),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("HINT:  ")), "{lines:?}");
    assert!(
        printed.out.contains("one"),
        "the session goes on: {}",
        printed.out
    );
}

#[test]
fn large_results() {
    same("SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g;");
    same("SELECT repeat('x', 5000000);");
    same("\\set FETCH_COUNT 100\nSELECT product_id, name FROM products ORDER BY product_id;");
    same(
        "SELECT i.*, o.status FROM order_items i JOIN orders o USING (user_id, order_id) ORDER BY i.order_id, i.line;",
    );
}

#[test]
fn several_statements_in_one_message() {
    let world = world();
    let words = [
        "-c",
        "SELECT 1 AS a; SELECT name FROM users WHERE user_id = 3; SELECT count(*) FROM orders",
    ];
    let through = world
        .psql(&world.shop(Region::UsEast))
        .run_with(&words, "")
        .unwrap();
    let straight = world.psql(&world.straight()).run_with(&words, "").unwrap();
    assert_eq!(through, straight);
    same("SELECT 1 \\; SELECT 2 \\; SELECT count(*) FROM users;");
}

/// Takes much longer than the test waits for Ctrl-C.
const SLOW_OVER_SHARDS: &str = "SELECT count(*) FROM order_items a JOIN order_items b USING (user_id) \
    JOIN order_items c USING (user_id) JOIN order_items d USING (user_id) JOIN order_items e USING (user_id) /* marked */;";

/// Ctrl-C at a terminal: the statement ends with 57014 on the server, and the session goes on.
#[test]
fn ctrl_c_cancels_the_statement_and_the_session_goes_on() {
    let world = world();
    for region in Region::ALL {
        let mut terminal = world.psql(&world.shop(region)).at_terminal().unwrap();
        terminal.wait_for("=> ").unwrap();
        terminal.press("\\set VERBOSITY verbose\n").unwrap();
        terminal.wait_for("=> ").unwrap();
        cancel(&world, &mut terminal, "SELECT pg_sleep(60) /* marked */;");
        // In a transaction it fails the block, and only that.
        terminal.press("BEGIN;\n").unwrap();
        terminal.wait_for("=*> ").unwrap();
        cancel(
            &world,
            &mut terminal,
            "SELECT pg_sleep(60), name FROM users WHERE user_id = 3 /* marked */;",
        );
        terminal.wait_for("=!> ").unwrap();
        terminal.press("ROLLBACK;\n").unwrap();
        terminal.wait_for("ROLLBACK").unwrap();
        terminal.wait_for("=> ").unwrap();
        // Over both shards.
        cancel(&world, &mut terminal, SLOW_OVER_SHARDS);
        terminal.wait_for("=> ").unwrap();
        terminal.press("SELECT 'still ' || 'here';\n").unwrap();
        terminal.wait_for("still here").unwrap();
    }
}

fn cancel(world: &World, terminal: &mut Terminal, statement: &str) {
    terminal.press(&format!("{statement}\n")).unwrap();
    wait_until_busy(world);
    terminal.press(Terminal::CTRL_C).unwrap();
    let shown = terminal
        .wait_for("canceling statement due to user request")
        .unwrap();
    assert!(shown.contains("57014"), "{shown}");
}

/// Waits until a server of the cluster works on a marked statement.
fn wait_until_busy(world: &World) {
    const TURNS: usize = 400;
    let servers = world
        .cluster()
        .shards()
        .iter()
        .flat_map(|shard| [&shard.primary, &shard.standby]);
    let servers: Vec<_> = servers.collect();
    world.wait(async {
        for _ in 0..TURNS {
            for server in &servers {
                let client = server.connect("postgres", "postgres").await.unwrap();
                let busy = "SELECT count(*) FROM pg_stat_activity
                            WHERE state = 'active' AND query LIKE '%marked%' AND pid <> pg_backend_pid()";
                if client.query_one(busy, &[]).await.unwrap().get::<_, i64>(0) > 0 {
                    return;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("no server works on it");
    });
}

fn run(sql: &str) -> Extended<'_> {
    static ONCE: [Bound; 1] = [Bound { values: Vec::new() }];
    Extended {
        name: "",
        sql,
        types: &[],
        bounds: &ONCE,
        binary: false,
        max_rows: 0,
        copy: None,
    }
}

/// Errors and notices by their codes; a column's own number in its table stays.
fn codes(replies: Vec<Vec<Reply>>) -> Vec<Vec<String>> {
    let code = |reply: Reply| match reply {
        Reply::Error(fault) => format!("error {}", fault.code),
        other => other.to_string(),
    };
    replies
        .into_iter()
        .map(|answer| answer.into_iter().map(code).collect())
        .collect()
}

/// What libpq's pipeline mode does, which psql 15 does not know: batches are sent without waiting for answers.
#[test]
fn pipelines() {
    let world = world();
    let reads: Vec<String> = (1..=100)
        .map(|id| format!("SELECT user_id, name FROM users WHERE user_id = {id}"))
        .collect();
    let mut batches: Vec<Vec<Extended<'_>>> = reads.iter().map(|sql| vec![run(sql)]).collect();
    // Several statements up to one Sync are one transaction, over whatever shards.
    let fails = "INSERT INTO inventory VALUES (1, 'twice', 0, 0, '2024-01-01')";
    let change = |id: u32| {
        format!("UPDATE inventory SET on_hand = on_hand + 1000 WHERE product_id = {id} RETURNING on_hand")
    };
    let changes: Vec<String> = (1..=6).map(change).collect();
    let all: Vec<Extended<'_>> = changes.iter().map(|sql| run(sql)).collect();
    let with_error: Vec<Extended<'_>> = [&all[..], &[run(fails), run(&reads[0])]].concat();
    let sum = "SELECT sum(on_hand), count(*) FROM inventory";
    batches.extend([
        vec![run(sum)],
        with_error,
        vec![run(sum)],
        all,
        vec![run(sum)],
        vec![run("SELEC 1"), run(sum)],
    ]);
    batches.push(vec![run("BEGIN"), run(&changes[0])]);
    batches.push(vec![run(&changes[1])]);
    batches.push(vec![run(fails)]);
    batches.push(vec![run(sum)]);
    batches.push(vec![run("ROLLBACK")]);
    batches.push(vec![run(sum)]);
    let expected = Session::connect(&world.straight())
        .unwrap()
        .pipeline(&batches)
        .unwrap();
    for region in Region::ALL {
        if region == Region::UsWest {
            world.wait(world.cluster().wait_replayed()).unwrap();
        }
        let got = world.connect(region).unwrap().pipeline(&batches).unwrap();
        for (n, (expected, got)) in codes(expected.clone()).into_iter().zip(codes(got)).enumerate() {
            assert_eq!(got, expected, "batch {n} in {region:?}: {:?}", batches[n]);
        }
        let undo = "UPDATE inventory SET on_hand = on_hand - 1000 WHERE product_id <= 6";
        world.connect(region).unwrap().simple(undo, None).unwrap();
    }
}
