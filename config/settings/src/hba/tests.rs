//! Rules: how they are read, and whom they fit.

use super::{HbaRule, LoginAttempt, Network, parse_file};
use proptest::prelude::*;
use std::net::IpAddr;

fn rules(text: &str) -> Result<Vec<String>, (usize, String)> {
    Ok(parse_file(text)?.iter().map(HbaRule::to_string).collect())
}

/// The method of the first rule that fits.
fn method(text: &str, address: Option<&str>, tls: bool, user: &str, database: &str) -> Option<String> {
    let rules = parse_file(text).unwrap();
    let attempt = LoginAttempt {
        address: address.map(|address| address.parse().unwrap()),
        tls,
        user,
        database,
    };
    let rule = rules.iter().find(|rule| rule.fits(&attempt))?;
    Some(rule.method.to_string())
}

#[test]
fn a_file_of_postgres_is_read() {
    let text = "# TYPE  DATABASE        USER            ADDRESS                 METHOD\n\
        local   all             all                                     peer\n\
        \n\
        host    all, \"all\"      all             127.0.0.1/32            scram-sha-256 # here\n\
        host    sameuser        \"J\"\"o\",flo      10.1.0.0  255.255.0.0    md5\n\
        hostssl all             all             ::1                     cert\n\
        hostnossl all all all reject\r\n";
    assert_eq!(
        rules(text).unwrap(),
        [
            "local all all peer",
            "host all,\"all\" all 127.0.0.1/32 scram-sha-256",
            "host sameuser \"J\"o\",\"flo\" 10.1.0.0/16 md5",
            "hostssl all all ::1/128 cert",
            "hostnossl all all all reject",
        ]
    );
}

#[test]
fn what_is_not_done_is_refused_with_its_line() {
    let refused = |line: &str| {
        let (at, why) = rules(&format!("# first\n{line}\n")).unwrap_err();
        assert_eq!(at, 2);
        why
    };
    assert_eq!(
        refused("host all all 127.0.0.1/32"),
        "the line ends before the method"
    );
    assert_eq!(
        refused("hostgssenc all all all gss"),
        "the type must be local, host, hostssl or hostnossl, not `hostgssenc`"
    );
    assert!(refused("host all all all ident").starts_with("the method must be one of trust, reject,"));
    assert_eq!(
        refused("host replication all all md5"),
        "the database `replication` is not supported"
    );
    assert_eq!(
        refused("host all +admins all md5"),
        "`+admins`: groups, files and regular expressions are not supported"
    );
    assert_eq!(
        refused("host all all samenet md5"),
        "the address must be `all`, an IP address or a network such as 10.0.0.0/8, not `samenet`"
    );
    assert_eq!(
        refused("host all all 10.0.0.0 255.0.255.0 md5"),
        "`255.0.255.0` is not a mask for that address"
    );
    assert_eq!(
        refused("host all all 10.0.0.0/33 md5").split(',').next(),
        Some("the address must be `all`")
    );
    assert_eq!(
        refused("hostssl all all all cert map=x"),
        "the option `map=x` is not supported"
    );
    assert_eq!(
        refused("host all all all peer"),
        "`peer` needs a unix socket: use it with type `local`"
    );
    assert_eq!(
        refused("host all all all cert"),
        "`cert` needs TLS: use it with type `hostssl`"
    );
    assert_eq!(refused("host all \"x all md5"), "a quote is not closed");
    assert_eq!(refused("host all x,"), "a list ends with a comma");
    assert_eq!(
        refused("host,local all all all md5"),
        "a list where one word is expected"
    );
}

#[test]
fn the_first_rule_that_fits_decides() {
    let text = "local all all trust\n\
        hostssl all root all cert\n\
        host all root all reject\n\
        host sameuser all 10.0.0.0/8 md5\n\
        host shop jo,flo 2001:db8::/32 password\n\
        hostnossl admin all 127.0.0.1 trust\n";
    let check = |address, tls, user, database| method(text, address, tls, user, database);
    assert_eq!(check(None, false, "root", "x").as_deref(), Some("trust"));
    assert_eq!(check(Some("1.2.3.4"), true, "root", "x").as_deref(), Some("cert"));
    assert_eq!(
        check(Some("1.2.3.4"), false, "root", "x").as_deref(),
        Some("reject")
    );
    assert_eq!(check(Some("10.9.8.7"), false, "jo", "jo").as_deref(), Some("md5"));
    assert_eq!(
        check(Some("::ffff:10.9.8.7"), false, "jo", "jo").as_deref(),
        Some("md5")
    );
    assert_eq!(check(Some("11.9.8.7"), false, "jo", "jo"), None);
    assert_eq!(
        check(Some("2001:db8:1::1"), true, "flo", "shop").as_deref(),
        Some("password")
    );
    assert_eq!(check(Some("2001:db9::1"), true, "flo", "shop"), None);
    assert_eq!(
        check(Some("127.0.0.1"), false, "x", "admin").as_deref(),
        Some("trust")
    );
    assert_eq!(check(Some("127.0.0.1"), true, "x", "admin"), None);
}

proptest! {
    /// An address is in its own network, whatever the bits, and in the network of everything; a flipped leading bit is outside.
    #[test]
    fn networks(bits: u32, prefix in 0_u8..=32, flipped in 0_u8..32) {
        let address = IpAddr::V4(bits.into());
        let network = Network::parse(&format!("{address}/{prefix}")).unwrap();
        prop_assert!(network.contains(address));
        let other = IpAddr::V4((bits ^ (1 << (31 - flipped))).into());
        prop_assert_eq!(network.contains(other), flipped >= prefix);
    }

    #[test]
    fn arbitrary_text_is_read_or_refused(text in "[ -~\t\n\"#,]{0,80}") {
        let _ = parse_file(&text);
    }
}
