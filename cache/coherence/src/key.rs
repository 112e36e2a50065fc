//! The key of an answer: everything that it depends on besides the data.
//!
//! The hash finds an entry; the full key is kept with it and compared on a hit, so that no collision, found or made,
//! ever shows one user another's rows.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_secret};

/// The settings that change how a value is printed, in the order of [`KeyContext::output_settings`].
pub const OUTPUT_SETTINGS: [&str; 9] = [
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "extra_float_digits",
    "client_encoding",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
];

/// What of a session an answer depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyContext<'a> {
    /// Names the cluster among all that share a store, over its lifetime: a cluster made anew counts positions anew.
    pub cluster: &'a str,
    /// The database.
    pub database: &'a str,
    /// `session_user`.
    pub session_user: &'a str,
    /// `current_role`.
    pub role: &'a str,
    /// The search path, resolved: what it names, not what was set.
    pub search_path: &'a str,
    /// The values of [`OUTPUT_SETTINGS`].
    pub output_settings: [&'a str; OUTPUT_SETTINGS.len()],
}

/// A parameter of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyParameter<'a> {
    /// The type's oid; 0 where the client left it open.
    pub type_oid: u32,
    /// The format code of the value.
    pub format: i16,
    /// The value's bytes; `None` for null.
    pub value: Option<&'a [u8]>,
}

/// Which messages the answer consists of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AnswerShape {
    /// To a simple query: row description, rows, completion.
    Simple,
    /// To Execute alone: rows, completion.
    Executed,
    /// To Describe of the portal and Execute.
    DescribedAndExecuted,
}

/// What of a statement its answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct StatementKey<'a> {
    /// The text, normalised: literals that were taken out of it are among `parameters`.
    pub text: &'a str,
    /// Its parameters, in order.
    pub parameters: &'a [KeyParameter<'a>],
    /// The result format codes as the client gave them.
    pub result_formats: &'a [i16],
    /// Which messages it consists of.
    pub shape: AnswerShape,
}

/// The part of the key that changes only with the session's settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPrefix {
    bytes: Box<[u8]>,
}

impl KeyPrefix {
    /// The prefix of a session in this context.
    pub fn new(context: &KeyContext<'_>) -> Self {
        let KeyContext {
            cluster,
            database,
            session_user,
            role,
            search_path,
            output_settings,
        } = context;
        let mut bytes = Vec::new();
        for field in [cluster, database, session_user, role, search_path]
            .into_iter()
            .chain(output_settings)
        {
            put(&mut bytes, field.as_bytes());
        }
        Self {
            bytes: bytes.into_boxed_slice(),
        }
    }
}

/// A full key with its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheKey<'a> {
    /// Finds the entry.
    pub hash: u128,
    /// Must equal the entry's own on a hit.
    pub bytes: &'a [u8],
}

/// Hashes keys under a secret, which the proxies of a region that share a store have in common. Without it nobody can
/// make statements whose hashes collide, nor tell from a hash what was asked.
pub struct KeyHasher {
    secret: Box<[u8]>,
}

/// At least this much is what XXH3 demands of a secret; more makes long inputs no worse.
const SECRET_BYTES: usize = 192;

impl KeyHasher {
    /// A hasher under this secret.
    pub fn new(secret: &[u8; 16]) -> Self {
        let words =
            (0..SECRET_BYTES as u64 / 8).flat_map(|word| xxh3_64_with_seed(secret, word).to_be_bytes());
        Self {
            secret: words.collect(),
        }
    }

    /// The key of a statement, written into `buffer`: keep one for each thread, so that nothing is allocated.
    pub fn key<'b>(
        &self,
        prefix: &KeyPrefix,
        statement: &StatementKey<'_>,
        buffer: &'b mut Vec<u8>,
    ) -> CacheKey<'b> {
        buffer.clear();
        buffer.extend_from_slice(&prefix.bytes);
        buffer.push(match statement.shape {
            AnswerShape::Simple => 0,
            AnswerShape::Executed => 1,
            AnswerShape::DescribedAndExecuted => 2,
        });
        put(buffer, statement.text.as_bytes());
        put_length(buffer, statement.parameters.len());
        for parameter in statement.parameters {
            buffer.extend_from_slice(&parameter.type_oid.to_be_bytes());
            buffer.extend_from_slice(&parameter.format.to_be_bytes());
            match parameter.value {
                None => buffer.push(0),
                Some(value) => {
                    buffer.push(1);
                    put(buffer, value);
                }
            }
        }
        put_length(buffer, statement.result_formats.len());
        for format in statement.result_formats {
            buffer.extend_from_slice(&format.to_be_bytes());
        }
        CacheKey {
            hash: xxh3_128_with_secret(buffer, &self.secret),
            bytes: buffer,
        }
    }
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher")
    }
}

/// Each field with its length before it: no two keys run together.
fn put(out: &mut Vec<u8>, field: &[u8]) {
    put_length(out, field.len());
    out.extend_from_slice(field);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&(length as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn context() -> KeyContext<'static> {
        KeyContext {
            cluster: "c1",
            database: "shop",
            session_user: "ann",
            role: "ann",
            search_path: "public",
            output_settings: ["UTC", "ISO, MDY", "postgres", "hex", "1", "UTF8", "C", "C", "C"],
        }
    }

    const PARAMETERS: [KeyParameter<'_>; 2] = [
        KeyParameter {
            type_oid: 20,
            format: 0,
            value: Some(b"42"),
        },
        KeyParameter {
            type_oid: 25,
            format: 0,
            value: None,
        },
    ];

    fn statement() -> StatementKey<'static> {
        let text = "SELECT * FROM users WHERE id = $1";
        StatementKey {
            text,
            parameters: &PARAMETERS,
            result_formats: &[0],
            shape: AnswerShape::Executed,
        }
    }

    fn contexts() -> Vec<KeyContext<'static>> {
        let mut all = vec![context(); 7];
        all[1].cluster = "c2";
        all[2].database = "shop2";
        all[3].session_user = "bob";
        all[4].role = "bob";
        (all[5].session_user, all[5].role) = ("an", "nann");
        all[6].search_path = "other";
        for index in 0..OUTPUT_SETTINGS.len() {
            let mut changed = context();
            changed.output_settings[index] = "other";
            all.push(changed);
        }
        all
    }

    const CHANGED: [[KeyParameter<'_>; 2]; 5] = [
        [
            KeyParameter {
                type_oid: 23,
                ..PARAMETERS[0]
            },
            PARAMETERS[1],
        ],
        [
            KeyParameter {
                format: 1,
                ..PARAMETERS[0]
            },
            PARAMETERS[1],
        ],
        [
            KeyParameter {
                value: Some(b"43"),
                ..PARAMETERS[0]
            },
            PARAMETERS[1],
        ],
        [
            KeyParameter {
                value: Some(b""),
                ..PARAMETERS[0]
            },
            PARAMETERS[1],
        ],
        [
            KeyParameter {
                value: None,
                ..PARAMETERS[0]
            },
            PARAMETERS[1],
        ],
    ];

    fn statements() -> Vec<StatementKey<'static>> {
        let mut all = vec![statement(); 7];
        all[1].text = "SELECT 1";
        all[2].shape = AnswerShape::Simple;
        all[3].shape = AnswerShape::DescribedAndExecuted;
        all[4].result_formats = &[1];
        all[5].result_formats = &[];
        all[6].parameters = &PARAMETERS[..1];
        all.extend(CHANGED.iter().map(|parameters| StatementKey {
            parameters,
            ..statement()
        }));
        all
    }

    #[test]
    fn whatever_differs_makes_another_key() {
        let hasher = KeyHasher::new(b"0123456789abcdef");
        let (mut hashes, mut keys, mut buffer) = (HashSet::new(), HashSet::new(), Vec::new());
        for context in &contexts() {
            for statement in &statements() {
                let key = hasher.key(&KeyPrefix::new(context), statement, &mut buffer);
                hashes.insert(key.hash);
                keys.insert(key.bytes.to_vec());
            }
        }
        let count = contexts().len() * statements().len();
        assert_eq!((hashes.len(), keys.len()), (count, count));
    }

    #[test]
    fn the_same_statement_has_the_same_key_under_one_secret_only() {
        let prefix = KeyPrefix::new(&context());
        let (mut one, mut two, mut three) = (Vec::new(), vec![1, 2, 3], Vec::new());
        let hasher = KeyHasher::new(b"0123456789abcdef");
        let first = hasher.key(&prefix, &statement(), &mut one);
        assert_eq!(first, hasher.key(&prefix, &statement(), &mut two));
        let other = KeyHasher::new(b"0123456789abcdeF").key(&prefix, &statement(), &mut three);
        assert!(first.hash != other.hash && first.bytes == other.bytes);
    }
}
