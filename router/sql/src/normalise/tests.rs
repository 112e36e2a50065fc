//! Compared with PostgreSQL's own lexer, which pg_query carries.

use super::*;
use expect_test::expect;
use pg_query::protobuf::Token;
use proptest::prelude::*;
use std::fmt::Write;

fn cut(sql: &str) -> (String, Vec<String>, bool) {
    let mut normaliser = Normaliser::new();
    let normalised = normaliser.normalise(sql.as_bytes());
    let template = String::from_utf8(normalised.template.to_vec()).unwrap();
    let sources = normalised
        .literals
        .iter()
        .map(|l| String::from_utf8(l.source(sql.as_bytes()).to_vec()).unwrap())
        .collect();
    (template, sources, normalised.exact_text_only)
}

#[test]
fn templates() {
    let mut out = String::new();
    for sql in [
        "SELECT * FROM t WHERE a = 5 AND b = 'it''s'",
        "select -5, - 5, +5, 1.5, .5, 1e10, 1.5E-3, 5.",
        "SELECT E'a\\'b', $$x$$, $tag$ $$ '$tag$, B'01', X'1F'",
        "SELECT a FROM t ORDER BY 1, 2 DESC LIMIT 5 OFFSET 10",
        "SELECT a FROM t GROUP BY 1, (2) HAVING count(*) > 5",
        "SELECT DISTINCT ON (1) a, 5 FROM t",
        "SELECT date '2024-01-01', interval '1 day', x::varchar(10), numeric(10,2) '1.5'",
        "SELECT a AT TIME ZONE 'UTC' FROM t",
        "SELECT t1.a1, \"5 'x'\".b, a$1 FROM t1",
        "SELECT 1 -- x 'y'\n, 2 /* /* 3 */ 'z' */, 4",
        "/* ringway: cache=off */ SELECT 1",
        "SELECT a[1:2], a->'b'->>'c', 5::text, '5'::int",
        "SELECT 1;",
        "SELECT 1; -- end",
        // Not cut.
        "SELECT 1; SELECT 2",
        "SELECT $1, 5",
        "SELECT 0x1F",
        "SELECT 1_000",
        "SELECT 123abc",
        "SELECT 'a'\n'b'",
        "SELECT U&'x'",
        "SELECT N'x'",
        "SELECT 'a'5",
        "SELECT 'open",
        "SELECT /* open",
        "SET x = 5",
        "CREATE TABLE t (a varchar(10))",
    ] {
        let (template, literals, exact) = cut(sql);
        writeln!(
            out,
            "{}{template}    {}",
            if exact { "= " } else { "" },
            literals.join(" ~ ")
        )
        .unwrap();
    }
    expect![[r#"
        SELECT * FROM t WHERE a = $1 AND b = $2    5 ~ 'it''s'
        select -$1, - $2, +$3, $4, $5, $6, $7, $8    5 ~ 5 ~ 5 ~ 1.5 ~ .5 ~ 1e10 ~ 1.5E-3 ~ 5.
        SELECT $1, $2, $3, $4, $5    E'a\'b' ~ $$x$$ ~ $tag$ $$ '$tag$ ~ B'01' ~ X'1F'
        SELECT a FROM t ORDER BY 1, 2 DESC LIMIT $1 OFFSET $2    5 ~ 10
        SELECT a FROM t GROUP BY 1, (2) HAVING count(*) > $1    5
        SELECT DISTINCT ON (1) a, 5 FROM t    
        SELECT date '2024-01-01', interval '1 day', x::varchar($1), numeric($2,$3) '1.5'    10 ~ 10 ~ 2
        SELECT a AT TIME ZONE 'UTC' FROM t    
        SELECT t1.a1, "5 'x'".b, a$1 FROM t1    
        SELECT $1 

        , $2  , $3    1 ~ 2 ~ 4
        /* ringway: cache=off */ SELECT $1    1
        SELECT a[$1:$2], a->$3->>$4, $5::text, $6::int    1 ~ 2 ~ 'b' ~ 'c' ~ 5 ~ '5'
        SELECT $1;    1
        SELECT $1; 
            1
        = SELECT 1; SELECT 2    
        = SELECT $1, 5    
        = SELECT 0x1F    
        = SELECT 1_000    
        = SELECT 123abc    
        = SELECT 'a'
        'b'    
        = SELECT U&'x'    
        = SELECT N'x'    
        = SELECT 'a'5    
        = SELECT 'open    
        = SELECT /* open    
        = SET x = 5    
        = CREATE TABLE t (a varchar(10))    
    "#]]
    .assert_eq(&out);
}

#[test]
fn values() {
    let value = |sql: &str| {
        let mut normaliser = Normaliser::new();
        let normalised = normaliser.normalise(sql.as_bytes());
        normalised.literals[0]
            .value(sql.as_bytes())
            .map(|v| String::from_utf8(v.to_vec()).unwrap())
    };
    assert_eq!(value("SELECT 'it''s'''").as_deref(), Some("it's'"));
    assert_eq!(value("SELECT ''").as_deref(), Some(""));
    assert_eq!(value("SELECT $a$x'$$y$a$").as_deref(), Some("x'$$y"));
    assert_eq!(value("SELECT e'it''s'").as_deref(), Some("it's"));
    assert_eq!(value("SELECT e'\\n'"), None);
    assert_eq!(value("SELECT 42").as_deref(), Some("42"));
    assert_eq!(value("SELECT X'1F'"), None);
}

#[test]
fn relative_times() {
    for text in ["now", " NOW ", "today", "tomorrow 12:00", "yesterday", "Now()"] {
        assert!(is_relative_time(text.as_bytes()), "{text}");
    }
    for text in ["", "2024-01-01", "nowhere", "snow", "infinity", "epoch"] {
        assert!(!is_relative_time(text.as_bytes()), "{text}");
    }
}

/// The tokens of a text as PostgreSQL sees them, comments left out.
fn tokens(sql: &str) -> Option<Vec<(Token, String, usize)>> {
    let scanned = pg_query::scan(sql).ok()?;
    let tokens = scanned
        .tokens
        .iter()
        .filter(|t| !matches!(t.token(), Token::SqlComment | Token::CComment));
    tokens
        .map(|t| {
            let (start, end) = (usize::try_from(t.start).ok()?, usize::try_from(t.end).ok()?);
            Some((t.token(), sql.get(start..end)?.to_owned(), start))
        })
        .collect()
}

/// Pieces of SQL, good and bad, to be put together at random.
fn fragment() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "SELECT",
        "FROM",
        "WHERE",
        "AND",
        "ORDER BY",
        "GROUP BY",
        "LIMIT",
        "DISTINCT",
        "date",
        "a",
        "t1",
        "x$1",
        "\"q 'x\"",
        "\"a\"\"b\"",
        "=",
        "<",
        "-",
        "--",
        "-- c\n",
        "/*",
        "/* c */",
        "/* /* n */ c */",
        "*",
        "/",
        "(",
        ")",
        ",",
        ".",
        "::",
        "[",
        "]",
        ";",
        "'",
        "''",
        "'a'",
        "'it''s'",
        "E'a\\'b'",
        "E'\\\\'",
        "e'x",
        "$$",
        "$$a'b$$",
        "$t$ $$ $t$",
        "$1",
        "$",
        "B'01'",
        "X'1F'",
        "N'x'",
        "U&'x'",
        "5",
        "12.5",
        ".5",
        "1e5",
        "1e",
        "0x1F",
        "1_000",
        "5.",
        "1..2",
        "\n",
        "\\",
        "@",
        "é",
        "'é'",
        "->>'k'",
    ])
    .prop_map(str::to_owned);
    let glue = prop::sample::select(vec![" ", "", "\n", " "]).prop_map(str::to_owned);
    prop_oneof![4 => fixed, 3 => glue]
}

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..24).prop_map(|parts| format!("SELECT {}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_are_cut_or_left(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let sql = [b"SELECT ".as_slice(), &bytes].concat();
        let mut normaliser = Normaliser::new();
        let normalised = normaliser.normalise(&sql);
        for literal in normalised.literals {
            literal.value(&sql);
        }
    }

    /// Every literal is one token of PostgreSQL's lexer, and the template is the same tokens with parameters in place of
    /// literals.
    #[test]
    fn agrees_with_the_real_lexer(sql in soup()) {
        let mut normaliser = Normaliser::new();
        let normalised = normaliser.normalise(sql.as_bytes());
        if normalised.exact_text_only {
            prop_assert_eq!(normalised.template, sql.as_bytes());
            return Ok(());
        }
        let Some(original) = tokens(&sql) else { return Ok(()) };
        let template = std::str::from_utf8(normalised.template).unwrap();
        let Some(cut) = tokens(template) else {
            return Err(TestCaseError::fail(format!("the template cannot be read: {template}")));
        };
        prop_assert_eq!(original.len(), cut.len(), "{}", template);
        let mut literals = normalised.literals.iter();
        for ((token, text, start), (cut_token, cut_text, _)) in original.iter().zip(&cut) {
            if *cut_token == Token::Param {
                let literal = literals.next().unwrap();
                prop_assert_eq!(usize::try_from(literal.start).unwrap(), *start, "{}", template);
                prop_assert_eq!(literal.source(sql.as_bytes()), text.as_bytes());
                prop_assert!(matches!(token, Token::Sconst | Token::Iconst | Token::Fconst | Token::Bconst | Token::Xconst));
            } else {
                prop_assert_eq!(token, cut_token, "{}", template);
                prop_assert_eq!(text, cut_text);
            }
        }
        prop_assert!(literals.next().is_none());
    }
}
