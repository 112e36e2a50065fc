//! Session settings (GUCs) that follow a client from backend to backend.
//!
//! A client's settings are one immutable value. A backend remembers the value that was applied to it last, so the
//! usual question ("is anything different?") is one pointer comparison.

use std::fmt::Write as _;
use std::sync::Arc;

/// A setting's name, lower case as PostgreSQL folds it.
pub type SettingName = Box<str>;

/// The settings that differ from the server's defaults, each with the SQL text of its value.
#[derive(Clone, Debug, Default)]
pub struct Settings(Arc<Vec<Setting>>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Setting {
    name: SettingName,
    /// What stands after `TO` in a SET: already quoted where it must be.
    value_sql: Box<str>,
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Settings {}

impl Settings {
    /// Whether no setting differs from the default.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The SQL text of the value that `name` is set to.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|s| s.name.as_ref().cmp(name)).ok()?;
        self.0.get(at).map(|s| s.value_sql.as_ref())
    }

    /// All settings by name, with the SQL text of their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|s| (s.name.as_ref(), s.value_sql.as_ref()))
    }

    /// These settings with `name` set to what the SQL text `value_sql` says.
    #[must_use]
    pub fn with(&self, name: &str, value_sql: &str) -> Self {
        let setting = Setting {
            name: name.into(),
            value_sql: value_sql.into(),
        };
        let mut all = self.0.as_ref().clone();
        match all.binary_search_by(|s| s.name.as_ref().cmp(name)) {
            Ok(at) => {
                if all.get(at) == Some(&setting) {
                    return self.clone();
                }
                all.splice(at..=at, [setting]);
            }
            Err(at) => all.insert(at, setting),
        }
        Self(Arc::new(all))
    }

    /// These settings with `name` back at its default.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        match self.0.binary_search_by(|s| s.name.as_ref().cmp(name)) {
            Ok(at) => {
                let mut all = self.0.as_ref().clone();
                all.remove(at);
                Self(Arc::new(all))
            }
            Err(_) => self.clone(),
        }
    }

    /// The statements that take a backend from these settings to `wanted`; `None` when there is nothing to do.
    ///
    /// `session_authorization` and `role` come first when they are reset and last when they are set, so that every
    /// other SET runs with the rights of the client that asked for it.
    pub fn statements_towards(&self, wanted: &Settings) -> Option<String> {
        if self == wanted {
            return None;
        }
        let mut sql = String::new();
        let identity = |name: &str| name == "role" || name == "session_authorization";
        let mut undo: Vec<&str> = self
            .iter()
            .filter(|(name, _)| wanted.get(name).is_none())
            .map(|(name, _)| name)
            .collect();
        undo.sort_by_key(|name| !identity(name));
        for name in undo {
            // Writing to a String can't fail.
            let _ = write!(sql, "RESET {};", quote_setting(name));
        }
        let mut set: Vec<(&str, &str)> = wanted
            .iter()
            .filter(|(name, value)| self.get(name) != Some(value))
            .collect();
        set.sort_by_key(|(name, _)| identity(name));
        for (name, value) in set {
            let _ = write!(sql, "SET {} TO {value};", quote_setting(name));
        }
        Some(sql)
    }
}

/// A setting's name as SQL: each part of a dotted name quoted by itself.
pub(crate) fn quote_setting(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    for (n, part) in name.split('.').enumerate() {
        if n > 0 {
            quoted.push('.');
        }
        quoted.push('"');
        quoted.push_str(&part.replace('"', "\"\""));
        quoted.push('"');
    }
    quoted
}

/// The settings of a client through the transactions that may undo them.
///
/// PostgreSQL reverts a SET when its transaction or savepoint is rolled back and a SET LOCAL at the end of the
/// transaction; so does this.
#[derive(Clone, Debug, Default)]
pub struct SettingsScope {
    current: Settings,
    transaction: Option<Box<InTransaction>>,
}

#[derive(Clone, Debug)]
struct InTransaction {
    at_begin: Settings,
    local: Vec<Setting>,
    savepoints: Vec<(Box<str>, Settings, usize)>,
}

impl SettingsScope {
    /// A scope outside any transaction.
    pub fn new(initial: Settings) -> Self {
        Self {
            current: initial,
            transaction: None,
        }
    }

    /// What a backend of this client must have outside of SET LOCAL.
    pub fn current(&self) -> &Settings {
        &self.current
    }

    /// What SET LOCAL set in this transaction, in order, as one SQL string; `None` when there was none.
    pub fn local_statements(&self) -> Option<String> {
        let local = &self.transaction.as_ref()?.local;
        if local.is_empty() {
            return None;
        }
        let mut sql = String::new();
        for setting in local {
            let _ = write!(
                sql,
                "SET LOCAL {} TO {};",
                quote_setting(&setting.name),
                setting.value_sql
            );
        }
        Some(sql)
    }

    /// What the setting is at this moment, SET LOCAL included.
    pub fn effective(&self, name: &str) -> Option<&str> {
        let local = self.transaction.as_ref().map_or(&[][..], |t| t.local.as_slice());
        match local.iter().rev().find(|s| s.name.as_ref() == name) {
            Some(setting) => Some(setting.value_sql.as_ref()),
            None => self.current.get(name),
        }
    }

    /// A SET succeeded.
    pub fn set(&mut self, name: &str, value_sql: &str) {
        self.current = self.current.with(name, value_sql);
        self.forget_local(name);
    }

    /// A SET LOCAL succeeded. Outside a transaction it has no effect, as in PostgreSQL.
    pub fn set_local(&mut self, name: &str, value_sql: &str) {
        if let Some(transaction) = &mut self.transaction {
            transaction.local.push(Setting {
                name: name.into(),
                value_sql: value_sql.into(),
            });
        }
    }

    /// A RESET, or a SET ... TO DEFAULT, succeeded.
    pub fn reset(&mut self, name: &str, startup: &Settings) {
        self.current = match startup.get(name) {
            Some(value) => self.current.with(name, value),
            None => self.current.without(name),
        };
        self.forget_local(name);
    }

    /// A RESET ALL succeeded. The role and the session authorization are not settings that it touches.
    pub fn reset_all(&mut self, startup: &Settings) {
        let mut all = startup.clone();
        for name in ["role", "session_authorization"] {
            all = match self.current.get(name) {
                Some(value) => all.with(name, value),
                None => all.without(name),
            };
        }
        self.current = all;
        if let Some(transaction) = &mut self.transaction {
            transaction.local.clear();
        }
    }

    /// A DISCARD ALL succeeded.
    pub fn discard_all(&mut self, startup: &Settings) {
        self.current = startup.clone();
    }

    /// A transaction began.
    pub fn begin(&mut self) {
        if self.transaction.is_none() {
            self.transaction = Some(Box::new(InTransaction {
                at_begin: self.current.clone(),
                local: Vec::new(),
                savepoints: Vec::new(),
            }));
        }
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, name: &str) {
        if let Some(t) = &mut self.transaction {
            t.savepoints
                .push((name.into(), self.current.clone(), t.local.len()));
        }
    }

    /// ROLLBACK TO SAVEPOINT: what was set since is undone; the savepoint itself stays.
    pub fn rollback_to(&mut self, name: &str) {
        if let Some(t) = &mut self.transaction
            && let Some(at) = t.savepoints.iter().rposition(|(n, _, _)| n.as_ref() == name)
        {
            t.savepoints.truncate(at + 1);
            if let Some((_, settings, locals)) = t.savepoints.last() {
                self.current = settings.clone();
                t.local.truncate(*locals);
            }
        }
    }

    /// RELEASE SAVEPOINT.
    pub fn release(&mut self, name: &str) {
        if let Some(t) = &mut self.transaction
            && let Some(at) = t.savepoints.iter().rposition(|(n, _, _)| n.as_ref() == name)
        {
            t.savepoints.truncate(at);
        }
    }

    /// The transaction ended.
    pub fn end(&mut self, committed: bool) {
        if let Some(t) = self.transaction.take()
            && !committed
        {
            self.current = t.at_begin;
        }
    }

    fn forget_local(&mut self, name: &str) {
        if let Some(t) = &mut self.transaction {
            t.local.retain(|s| s.name.as_ref() != name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, SettingsScope};

    fn scope() -> SettingsScope {
        SettingsScope::new(Settings::default().with("timezone", "'UTC'"))
    }

    #[test]
    fn nothing_to_apply_between_equal_settings() {
        let a = Settings::default().with("x", "1").with("y", "2");
        let b = Settings::default().with("y", "2").with("x", "1");
        assert_eq!(a.statements_towards(&b), None);
        assert_eq!(a.statements_towards(&a.clone()), None);
    }

    #[test]
    fn difference_resets_and_sets_with_the_role_last() {
        let from = Settings::default().with("work_mem", "'1MB'").with("role", "'a'");
        let to = Settings::default()
            .with("role", "'b'")
            .with("app.tenant", "'7'")
            .with("search_path", "x, y");
        assert_eq!(
            from.statements_towards(&to).as_deref(),
            Some(
                "RESET \"work_mem\";SET \"app\".\"tenant\" TO '7';SET \"search_path\" TO x, y;SET \"role\" TO 'b';"
            )
        );
        let none = Settings::default();
        assert_eq!(
            from.statements_towards(&none).as_deref(),
            Some("RESET \"role\";RESET \"work_mem\";")
        );
    }

    #[test]
    fn rollback_reverts_and_commit_keeps() {
        let mut s = scope();
        s.begin();
        s.set("timezone", "'CET'");
        s.end(false);
        assert_eq!(s.current().get("timezone"), Some("'UTC'"));
        s.begin();
        s.set("timezone", "'CET'");
        s.end(true);
        assert_eq!(s.current().get("timezone"), Some("'CET'"));
    }

    #[test]
    fn local_settings_end_with_the_transaction() {
        let mut s = scope();
        s.set_local("work_mem", "'1MB'");
        assert_eq!(s.effective("work_mem"), None, "no effect outside a transaction");
        s.begin();
        s.set_local("work_mem", "'1MB'");
        assert_eq!(s.effective("work_mem"), Some("'1MB'"));
        assert_eq!(
            s.local_statements().as_deref(),
            Some("SET LOCAL \"work_mem\" TO '1MB';")
        );
        s.end(true);
        assert_eq!(s.effective("work_mem"), None);
        assert_eq!(s.local_statements(), None);
    }

    #[test]
    fn savepoints_undo_both_kinds() {
        let mut s = scope();
        s.begin();
        s.set_local("a.b", "1");
        s.savepoint("p");
        s.set("timezone", "'CET'");
        s.set_local("a.b", "2");
        s.rollback_to("p");
        assert_eq!(s.effective("timezone"), Some("'UTC'"));
        assert_eq!(s.effective("a.b"), Some("1"));
        s.set("timezone", "'EST'");
        s.release("p");
        s.rollback_to("p");
        assert_eq!(
            s.effective("timezone"),
            Some("'EST'"),
            "a released savepoint is gone"
        );
    }

    #[test]
    fn reset_goes_back_to_what_the_client_asked_for_at_startup() {
        let startup = Settings::default().with("timezone", "'UTC'");
        let mut s = SettingsScope::new(startup.clone());
        s.set("timezone", "'CET'");
        s.set("role", "'r'");
        s.reset_all(&startup);
        assert_eq!(s.current().get("timezone"), Some("'UTC'"));
        assert_eq!(s.current().get("role"), Some("'r'"));
        s.reset("role", &startup);
        assert_eq!(s.current().get("role"), None);
    }
}
