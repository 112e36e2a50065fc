//! Rules of who has to show what, in the manner of `pg_hba.conf`: the first that fits an attempt decides.

use std::fmt;
use std::net::IpAddr;

/// What a client has to show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AuthMethod {
    /// Nothing.
    Trust,
    /// Whatever it shows, it isn't let in.
    Reject,
    /// SCRAM-SHA-256, with channel binding where both sides can.
    ScramSha256,
    /// SCRAM-SHA-256 with channel binding, so over TLS only.
    ScramSha256Plus,
    /// The md5 exchange; SCRAM where the secret is a SCRAM verifier, as in PostgreSQL.
    Md5,
    /// The password in clear, over TLS or a unix socket only.
    Password,
    /// A certificate made out to the user.
    Cert,
    /// The unix user of the same name on the other end of a unix socket.
    Peer,
}

impl AuthMethod {
    /// All methods with their names in the configuration.
    pub const NAMES: [(&'static str, AuthMethod); 8] = [
        ("trust", AuthMethod::Trust),
        ("reject", AuthMethod::Reject),
        ("scram-sha-256", AuthMethod::ScramSha256),
        ("scram-sha-256-plus", AuthMethod::ScramSha256Plus),
        ("md5", AuthMethod::Md5),
        ("password", AuthMethod::Password),
        ("cert", AuthMethod::Cert),
        ("peer", AuthMethod::Peer),
    ];

    /// The method of this name.
    pub fn named(name: &str) -> Option<AuthMethod> {
        let found = AuthMethod::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, method)| *method)
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = AuthMethod::NAMES.iter().find(|(_, method)| method == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

/// One attempt to log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginAttempt<'a> {
    /// Where the client connects from; `None`: over a unix socket.
    pub address: Option<IpAddr>,
    /// Whether through TLS.
    pub tls: bool,
    /// As whom.
    pub user: &'a str,
    /// To which database.
    pub database: &'a str,
}

/// Which connections a rule is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HbaConnection {
    /// Unix sockets.
    Local,
    /// TCP.
    Host,
    /// TCP with TLS.
    HostSsl,
    /// TCP without TLS.
    HostNoSsl,
}

impl HbaConnection {
    /// All kinds with their names in the configuration.
    pub const NAMES: [(&'static str, HbaConnection); 4] = [
        ("local", HbaConnection::Local),
        ("host", HbaConnection::Host),
        ("hostssl", HbaConnection::HostSsl),
        ("hostnossl", HbaConnection::HostNoSsl),
    ];
}

/// A name in a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HbaName {
    /// Every name.
    All,
    /// The database that is called as the user.
    SameUser,
    /// This name.
    Exact(String),
}

/// The addresses that a rule is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HbaAddress {
    /// Every address.
    All,
    /// Those of a network.
    Network(Network),
}

/// A network: an address with how many of its leading bits count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `address/bits`, or an address alone: that host.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits)?,
        };
        Some(Network { address, prefix })
    }

    /// The network of an address and a mask such as `255.255.0.0`.
    pub fn with_mask(address: IpAddr, mask: IpAddr) -> Option<Network> {
        let (ones, all) = match (address, mask) {
            (IpAddr::V4(_), IpAddr::V4(mask)) => {
                let bits = mask.to_bits();
                (bits.leading_ones(), bits.count_ones())
            }
            (IpAddr::V6(_), IpAddr::V6(mask)) => {
                let bits = mask.to_bits();
                (bits.leading_ones(), bits.count_ones())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        };
        let prefix = u8::try_from(ones).ok().filter(|_| ones == all)?;
        Some(Network { address, prefix })
    }

    /// Whether an address belongs to it. An IPv4 address that came over an IPv6 socket counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, plain(address)) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HbaRule {
    /// Which connections.
    pub connection: HbaConnection,
    /// Which databases.
    pub databases: Vec<HbaName>,
    /// Which users.
    pub users: Vec<HbaName>,
    /// From where; unix sockets come from nowhere.
    pub address: HbaAddress,
    /// What they have to show.
    pub method: AuthMethod,
}

impl HbaRule {
    /// Whether this rule is for `attempt`.
    pub fn fits(&self, attempt: &LoginAttempt<'_>) -> bool {
        let connection = match (self.connection, attempt.address) {
            (HbaConnection::Local, None) => true,
            (HbaConnection::Local, Some(_)) | (_, None) => false,
            (HbaConnection::Host, Some(_)) => true,
            (HbaConnection::HostSsl, Some(_)) => attempt.tls,
            (HbaConnection::HostNoSsl, Some(_)) => !attempt.tls,
        };
        let address = match (self.address, attempt.address) {
            (HbaAddress::All, _) | (HbaAddress::Network(_), None) => true,
            (HbaAddress::Network(network), Some(address)) => network.contains(address),
        };
        connection
            && address
            && self.databases.iter().any(|name| match name {
                HbaName::All => true,
                HbaName::SameUser => attempt.database == attempt.user,
                HbaName::Exact(name) => name == attempt.database,
            })
            && self.users.iter().any(|name| match name {
                HbaName::All => true,
                HbaName::SameUser => false,
                HbaName::Exact(name) => name == attempt.user,
            })
    }
}

impl fmt::Display for HbaRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[HbaName]| {
            let words = names.iter().map(|name| match name {
                HbaName::All => "all".to_owned(),
                HbaName::SameUser => "sameuser".to_owned(),
                HbaName::Exact(name) => format!("\"{name}\""),
            });
            words.collect::<Vec<_>>().join(",")
        };
        let kind = HbaConnection::NAMES
            .iter()
            .find(|(_, kind)| *kind == self.connection);
        let kind = kind.map_or("", |(name, _)| name);
        write!(f, "{kind} {} {} ", names(&self.databases), names(&self.users))?;
        match (self.connection, self.address) {
            (HbaConnection::Local, _) => {}
            (_, HbaAddress::All) => f.write_str("all ")?,
            (_, HbaAddress::Network(network)) => write!(f, "{network} ")?,
        }
        write!(f, "{}", self.method)
    }
}

/// The rules in a file of `pg_hba.conf`'s form. What this proxy doesn't do is an error: a rule that was left out would let in or keep
/// out somebody else.
///
/// # Errors
/// The number of the line, from 1, and what is wrong there.
pub(crate) fn parse_file(text: &str) -> Result<Vec<HbaRule>, (usize, String)> {
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words = words(line).map_err(|problem| (number, problem))?;
        if !words.is_empty() {
            rules.push(rule(&words).map_err(|problem| (number, problem))?);
        }
    }
    Ok(rules)
}

/// A word of a line: parts between commas, each with whether it was quoted.
type Word = Vec<(String, bool)>;

/// Splits a line as PostgreSQL does: at blanks, with commas inside a field, quotes, and `#` for comments.
fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut words: Vec<Word> = Vec::new();
    let mut chars = line.chars().peekable();
    // Whether the next part belongs to the last word: a comma came before it.
    let mut continued = false;
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        match chars.peek() {
            None | Some('#') => {
                return if continued {
                    Err("a list ends with a comma".to_owned())
                } else {
                    Ok(words)
                };
            }
            Some(_) => {}
        }
        let mut part = String::new();
        let mut quoted = false;
        let mut open = false;
        while let Some(&c) = chars.peek() {
            if !open && (c.is_whitespace() || c == ',' || c == '#') {
                break;
            }
            chars.next();
            match c {
                '"' if open && chars.next_if_eq(&'"').is_some() => part.push('"'),
                '"' => (open, quoted) = (!open, true),
                c => part.push(c),
            }
        }
        if open {
            return Err("a quote is not closed".to_owned());
        }
        match words.last_mut().filter(|_| continued) {
            Some(word) => word.push((part, quoted)),
            None => words.push(vec![(part, quoted)]),
        }
        while chars.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
        continued = chars.next_if_eq(&',').is_some();
    }
}

fn rule(words: &[Word]) -> Result<HbaRule, String> {
    let mut words = words.iter();
    let mut next = |what: &str| {
        words
            .next()
            .ok_or_else(|| format!("the line ends before the {what}"))
    };
    let connection = single(next("type")?)?;
    let connection = HbaConnection::NAMES
        .iter()
        .find(|(name, _)| *name == connection)
        .map(|(_, kind)| *kind)
        .ok_or_else(|| format!("the type must be local, host, hostssl or hostnossl, not `{connection}`"))?;
    let databases = names(next("database")?, Named::Database)?;
    let users = names(next("user")?, Named::User)?;
    let address = match connection {
        HbaConnection::Local => HbaAddress::All,
        HbaConnection::Host | HbaConnection::HostSsl | HbaConnection::HostNoSsl => {
            address(single(next("address")?)?)?
        }
    };
    let mut word = single(next("method")?)?;
    let address = match (address, word.parse::<IpAddr>()) {
        (HbaAddress::Network(network), Ok(mask)) => {
            let network = Network::with_mask(network.address, mask);
            let network = network.ok_or_else(|| format!("`{word}` is not a mask for that address"))?;
            word = single(next("method")?)?;
            HbaAddress::Network(network)
        }
        (address, _) => address,
    };
    let method = method(word, connection)?;
    match words.next() {
        None => Ok(HbaRule {
            connection,
            databases,
            users,
            address,
            method,
        }),
        Some(option) => {
            let option = option
                .iter()
                .map(|(part, _)| part.as_str())
                .collect::<Vec<_>>()
                .join(",");
            Err(format!("the option `{option}` is not supported"))
        }
    }
}

fn single(word: &Word) -> Result<&str, String> {
    match word.as_slice() {
        [(part, _)] => Ok(part),
        _ => Err("a list where one word is expected".to_owned()),
    }
}

/// What a list of names is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Database,
    User,
}

fn names(word: &Word, what: Named) -> Result<Vec<HbaName>, String> {
    let parts = word.iter();
    parts
        .map(|(part, quoted)| {
            if *quoted {
                Ok(HbaName::Exact(part.clone()))
            } else {
                name(part, what)
            }
        })
        .collect()
}

/// A name that isn't quoted: some words have a meaning.
pub(crate) fn name(part: &str, what: Named) -> Result<HbaName, String> {
    match part {
        "all" => Ok(HbaName::All),
        "sameuser" if what == Named::Database => Ok(HbaName::SameUser),
        "samerole" | "samegroup" | "replication" if what == Named::Database => {
            Err(format!("the database `{part}` is not supported"))
        }
        _ if part.starts_with(['+', '@', '/']) => Err(format!(
            "`{part}`: groups, files and regular expressions are not supported"
        )),
        _ => Ok(HbaName::Exact(part.to_owned())),
    }
}

/// An address: `all`, a host, or a network.
pub(crate) fn address(text: &str) -> Result<HbaAddress, String> {
    if text == "all" {
        return Ok(HbaAddress::All);
    }
    let network = Network::parse(text).map(HbaAddress::Network);
    network.ok_or_else(|| {
        format!("the address must be `all`, an IP address or a network such as 10.0.0.0/8, not `{text}`")
    })
}

/// The method of this name, if it makes sense for these connections.
pub(crate) fn method(name: &str, connection: HbaConnection) -> Result<AuthMethod, String> {
    let Some(method) = AuthMethod::named(name) else {
        let known: Vec<_> = AuthMethod::NAMES.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "the method must be one of {}, not `{name}`",
            known.join(", ")
        ));
    };
    match (method, connection) {
        (AuthMethod::Peer, HbaConnection::Host | HbaConnection::HostSsl | HbaConnection::HostNoSsl) => {
            Err("`peer` needs a unix socket: use it with type `local`".to_owned())
        }
        (
            AuthMethod::Cert | AuthMethod::ScramSha256Plus,
            HbaConnection::Host | HbaConnection::Local | HbaConnection::HostNoSsl,
        ) => Err(format!("`{name}` needs TLS: use it with type `hostssl`")),
        _ => Ok(method),
    }
}

/// The address of a client as messages name it.
pub fn shown_host(address: Option<IpAddr>) -> String {
    match address {
        None => "[local]".to_owned(),
        Some(address) => plain(address).to_string(),
    }
}

#[cfg(test)]
mod tests;
