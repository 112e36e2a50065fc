//! `numeric` against plain integers, and both formats against each other. tests/postgres.rs compares with a server.

use super::*;
use proptest::prelude::*;

fn numeric(text: &str) -> Numeric {
    Numeric::from_text(text.as_bytes()).unwrap_or_else(|| panic!("{text:?} is not numeric"))
}

fn text(numeric: &Numeric) -> String {
    let mut out = Vec::new();
    numeric.put_text(&mut out);
    String::from_utf8(out).unwrap()
}

fn binary(numeric: &Numeric) -> Vec<u8> {
    let mut out = Vec::new();
    numeric.put_binary(&mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Written down from `numeric_send` of a PostgreSQL 15 server.
#[test]
fn binary_as_numeric_send_has_it() {
    for (printed, sent) in [
        ("NaN", "00000000c0000000"),
        ("Infinity", "00000000d0000020"),
        ("-Infinity", "00000000f0000020"),
        ("0", "0000000000000000"),
        ("0.00", "0000000000000002"),
        ("-1.50", "000200004000000200011388"),
        ("10000", "00010001000000000001"),
        ("123456.789", "0003000100000003000c0d801ed2"),
    ] {
        assert_eq!(hex(&binary(&numeric(printed))), sent, "{printed}");
    }
}

#[test]
fn sums_keep_the_larger_scale() {
    for (left, right, sum) in [
        ("1", "2", "3"),
        ("0.1", "0.20", "0.30"),
        ("-0.5", "0.50", "0.00"),
        ("9999.9999", "0.0001", "10000.0000"),
        ("10000", "-0.0001", "9999.9999"),
        ("1000000000000", "-1", "999999999999"),
        ("-3", "2", "-1"),
        ("0", "-7.25", "-7.25"),
        ("Infinity", "-Infinity", "NaN"),
        ("Infinity", "-1", "Infinity"),
        ("-Infinity", "NaN", "NaN"),
    ] {
        assert_eq!(
            text(&numeric(left).add(&numeric(right)).unwrap()),
            sum,
            "{left} + {right}"
        );
        assert_eq!(
            text(&numeric(right).add(&numeric(left)).unwrap()),
            sum,
            "{right} + {left}"
        );
    }
}

#[test]
fn the_order_is_that_of_numeric_cmp() {
    let ascending = [
        "-Infinity",
        "-10000",
        "-1",
        "-0.0001",
        "0",
        "0.0001",
        "1",
        "9999.5",
        "10000",
        "Infinity",
        "NaN",
    ];
    for (left_rank, left) in ascending.iter().enumerate() {
        for (right_rank, right) in ascending.iter().enumerate() {
            assert_eq!(
                numeric(left).compare(&numeric(right)),
                left_rank.cmp(&right_rank),
                "{left} {right}"
            );
        }
    }
    assert_eq!(numeric("1.0").compare(&numeric("1.000")), Ordering::Equal);
    assert_eq!(numeric("0.00").compare(&numeric("0")), Ordering::Equal);
}

#[test]
fn what_numeric_out_does_not_print_is_refused() {
    for bad in ["", "-", ".", "1.", ".5", "+1", "1e5", " 1", "nan", "1.2.3", "1-"] {
        assert_eq!(Numeric::from_text(bad.as_bytes()), None, "{bad:?}");
    }
    let longest = "9".repeat(MAX_TEXT + 1);
    assert_eq!(Numeric::from_text(longest.as_bytes()), None);
}

#[test]
fn a_sum_beyond_the_format_is_refused() {
    let largest = numeric(&"9".repeat(131_072));
    assert_eq!(largest.add(&numeric("1")), None);
    assert_eq!(text(&largest.add(&numeric("-1")).unwrap()).len(), 131_072);
}

/// The number `units / 10^scale` as PostgreSQL prints it.
fn printed(units: i128, scale: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

const UNITS: std::ops::Range<i128> = -1_000_000_000_000_000_000_000_000..1_000_000_000_000_000_000_000_000;

proptest! {
    #[test]
    fn text_and_binary_read_back(units in UNITS, scale in 0_usize..30) {
        let expected = printed(units, scale);
        let value = numeric(&expected);
        prop_assert_eq!(text(&value), &*expected);
        prop_assert_eq!(Numeric::from_binary(&binary(&value)), Some(value));
    }

    #[test]
    fn sums_are_those_of_integers(left in UNITS, right in UNITS, scale in 0_usize..30) {
        let sum = numeric(&printed(left, scale)).add(&numeric(&printed(right, scale))).unwrap();
        prop_assert_eq!(text(&sum), printed(left + right, scale));
    }

    #[test]
    fn the_order_is_that_of_integers(left in UNITS, right in UNITS, scale in 0_usize..30) {
        let order = numeric(&printed(left, scale)).compare(&numeric(&printed(right, scale)));
        prop_assert_eq!(order, left.cmp(&right));
    }

    #[test]
    fn sums_are_the_same_in_every_order(units in prop::collection::vec((UNITS, 0_usize..30), 1..6)) {
        let values: Vec<_> = units.iter().map(|(units, scale)| numeric(&printed(*units, *scale))).collect();
        let sum = |values: &mut dyn Iterator<Item = &Numeric>| {
            values.fold(None, |sum: Option<Numeric>, value| match sum {
                None => Some(value.clone()),
                Some(sum) => sum.add(value),
            })
        };
        prop_assert_eq!(sum(&mut values.iter()), sum(&mut values.iter().rev()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Numeric::from_text(&bytes);
        let _ = Numeric::from_binary(&bytes);
    }

    /// Headers of every kind with digits behind them: what is read is written, compared and added without panic.
    #[test]
    fn any_header_is_safe(
        weight in any::<i16>(), scale in any::<u16>(), negative in any::<bool>(),
        digits in prop::collection::vec(0_i16..10_000, 0..6),
    ) {
        let mut bytes = Vec::new();
        put_header(&mut bytes, digits.len() as u16, weight, if negative { SIGN_NEGATIVE } else { 0 }, scale);
        digits.iter().for_each(|digit| bytes.put_i16(*digit));
        if let Some(value) = Numeric::from_binary(&bytes) {
            prop_assert!(text(&value).len() <= MAX_TEXT);
            prop_assert_eq!(value.compare(&value), Ordering::Equal);
            let _ = value.add(&numeric("-0.0001"));
        }
    }
}
