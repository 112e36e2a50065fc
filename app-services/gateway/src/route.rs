//! Which service answers which path: pure.

/// The first part of a path behind `/api/v1/`, and who answers.
const TABLE: [(&str, &str); 15] = [
    ("users", "user"),
    ("sessions", "user"),
    ("products", "product"),
    ("categories", "product"),
    ("cart", "order"),
    ("orders", "order"),
    ("stock", "inventory"),
    ("payments", "payment"),
    ("shipments", "shipping"),
    ("shipping", "shipping"),
    ("notifications", "notification"),
    ("broadcasts", "notification"),
    ("analytics", "analytics"),
    ("fraud", "fraud"),
    ("recommendations", "recommendation"),
];

/// What the user service answers besides.
const KEYS: &str = "/.well-known/jwks.json";

/// The services that are reached from outside.
pub(crate) fn services() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(_, service)| *service)
}

/// Who answers a path; none if nobody does.
pub(crate) fn of(path: &str) -> Option<&'static str> {
    if path == KEYS {
        return Some("user");
    }
    let rest = path.strip_prefix("/api/v1/")?;
    let first = rest.split('/').next()?;
    TABLE
        .iter()
        .find(|(part, _)| *part == first)
        .map(|(_, service)| *service)
}

/// Whether a path is the same however it is read: no part of it is `.` or `..`, also encoded, none is empty, and no separator is hidden in it.
pub(crate) fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let hidden = ["%2f", "%5c", "%00", "\\"]
        .iter()
        .any(|hidden| lower.contains(hidden));
    let mut parts = lower.split('/').skip(1);
    let crooked = parts.any(|part| matches!(&*part.replace("%2e", "."), "" | "." | ".."));
    !hidden && !crooked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_table_are_answered() {
        assert_eq!(of("/api/v1/users/me"), Some("user"));
        assert_eq!(of("/api/v1/products"), Some("product"));
        assert_eq!(of("/.well-known/jwks.json"), Some("user"));
        for path in [
            "/",
            "/api/v1/",
            "/api/v2/users",
            "/shop.v1.User/Get",
            "/api/v1/user",
            "/metrics",
            "/api/v1",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn what_others_may_read_as_another_path_is_not_plain() {
        for path in [
            "/api/v1/users/me",
            "/api/v1/categories/a.b/products",
            "/api/v1/users/%20",
        ] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "/api/v1/users/../../../shop.v1.User/Get",
            "/api/v1/users/%2e%2E/x",
            "/api/v1/users/.%2e/x",
            "/api/v1/users/./x",
            "/api/v1/users//x",
            "/api/v1/users/..%2f",
            "/api/v1/users/a%5C..",
            "/api/v1/users/",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
