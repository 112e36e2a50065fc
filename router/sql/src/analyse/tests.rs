//! What pg_query says of a few statements that the planner's tests don't look at closely.

use super::*;
use crate::{CopyFormat, CopyHeader, SetWhat, TransactionControl};

fn one(sql: &str) -> StatementKind {
    let mut statements = analyse(sql).unwrap();
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0).kind
}

#[test]
fn ranges_leave_white_space_out() {
    let sql = "  SELECT 1 ;\n  SELECT 'é' ; ";
    let ranges: Vec<&str> = analyse(sql)
        .unwrap()
        .iter()
        .map(|s| &sql[s.range.clone()])
        .collect();
    assert_eq!(ranges, ["SELECT 1", "SELECT 'é'"]);
    assert_eq!(one(" -- nothing"), StatementKind::Empty);
}

#[test]
fn what_is_no_sql_is_left_to_the_server() {
    assert!(matches!(analyse("SELEC 1"), Err(ParseError::Syntax(_))));
    assert!(matches!(analyse("SELECT 1\0"), Err(ParseError::Syntax(_))));
    let deep = analyse(&format!("SELECT {}true", "NOT ".repeat(2_000)));
    assert!(matches!(deep, Err(ParseError::TooDeep(_))), "{deep:?}");
}

#[test]
fn copy_options_in_both_spellings() {
    for sql in [
        "COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x', QUOTE '\"', ESCAPE '\\')",
        "COPY t (a, b) FROM STDIN CSV HEADER DELIMITER ';' NULL 'x' QUOTE '\"' ESCAPE '\\'",
    ] {
        let StatementKind::Copy(copy) = one(sql) else {
            panic!("{sql}")
        };
        assert_eq!(copy.columns, ["a", "b"]);
        let options = copy.options;
        assert_eq!(
            (options.format, options.header),
            (CopyFormat::Csv, CopyHeader::On),
            "{sql}"
        );
        let texts = [options.delimiter, options.null, options.quote, options.escape];
        assert_eq!(texts.map(Option::unwrap), [";", "x", "\"", "\\"]);
    }
}

#[test]
fn settings_and_transactions() {
    let StatementKind::Set(set) = one("SET LOCAL TIME ZONE 'UTC'") else {
        panic!()
    };
    assert!(set.local);
    assert_eq!(
        set.what,
        SetWhat::Parameter {
            name: "timezone".to_owned(),
            values: vec!["UTC".to_owned()]
        }
    );
    let StatementKind::Set(set) = one("SET application_name TO DEFAULT") else {
        panic!()
    };
    assert_eq!(
        set.what,
        SetWhat::Default {
            name: "application_name".to_owned()
        }
    );
    let StatementKind::Transaction(TransactionControl::Begin(modes)) =
        one("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE, NOT DEFERRABLE")
    else {
        panic!()
    };
    assert_eq!(modes.isolation, Some(crate::Isolation::RepeatableRead));
    assert_eq!((modes.read_only, modes.deferrable), (Some(false), Some(false)));
}

#[test]
fn some_ddl_wants_a_database_for_itself() {
    let vacated = |sql| match one(sql) {
        StatementKind::Ddl(ddl) => ddl.vacated,
        _ => None,
    };
    for sql in [
        "DROP DATABASE \"A\"",
        "DROP DATABASE IF EXISTS \"A\" WITH (FORCE)",
        "ALTER DATABASE \"A\" RENAME TO b",
        "ALTER DATABASE \"A\" SET TABLESPACE b",
        "CREATE DATABASE b TEMPLATE \"A\"",
        "CREATE DATABASE b OWNER c TEMPLATE = 'A'",
    ] {
        assert_eq!(vacated(sql).as_deref(), Some("A"), "{sql}");
    }
    assert_eq!(vacated("CREATE DATABASE b").as_deref(), Some("template1"));
    for sql in [
        "ALTER DATABASE a SET work_mem = '1MB'",
        "ALTER DATABASE a CONNECTION LIMIT 3",
        "ALTER TABLE a RENAME TO b",
        "DROP SCHEMA a",
    ] {
        assert_eq!(vacated(sql), None, "{sql}");
    }
}

#[test]
fn printed_texts_read_back_the_same() {
    for sql in [
        "SELECT \"a b\", 'it''s', E'\\n', $1 FROM t WHERE x = $2 ORDER BY 1 LIMIT 5",
        "INSERT INTO t (a, b) VALUES (1, 'x'), (2, $1) ON CONFLICT (a) DO NOTHING RETURNING *",
        "WITH x AS (SELECT 1) SELECT * FROM x JOIN y USING (a) WHERE b IN (1, 2) AND c LIKE 'a%'",
    ] {
        let statement = analyse(sql).unwrap().remove(0);
        let pieces = crate::rewrite::print(&statement).unwrap();
        let text: String = pieces
            .0
            .iter()
            .map(|piece| match piece {
                crate::rewrite::Piece::Text(text) => text.clone(),
                crate::rewrite::Piece::Parameter(number) => format!("${number}"),
            })
            .collect();
        let fingerprint = |sql: &str| pg_query::fingerprint(sql, 0, 0).unwrap().hex;
        assert_eq!(fingerprint(sql), fingerprint(&text), "{text}");
    }
}

#[test]
fn hints_are_read_from_block_comments_only() {
    let level = |sql: &str| crate::hints(sql).map(|hints| hints.level);
    let two = std::time::Duration::from_secs(2);
    assert_eq!(
        level("/* ringway: level=bounded(2s) cache=off */ SELECT 1"),
        Ok(Some(crate::HintLevel::Bounded(two)))
    );
    assert_eq!(
        level("SELECT 1 /*ringway:level=strong*/"),
        Ok(Some(crate::HintLevel::Strong))
    );
    assert_eq!(level("SELECT '/* ringway: level=strong */'"), Ok(None));
    assert_eq!(level("-- ringway: level=strong\nSELECT 1"), Ok(None));
    assert!(level("/* ringway: level=session */ SELECT 1").is_err());
}
