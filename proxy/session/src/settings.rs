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
    value: Box<str>,
    form: Form,
}

/// How a value is given to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// The value stands after `TO` in a SET: already quoted where it must be.
    Sql,
    /// The value is the server's own text of it, for `set_config`: a list of names as one string, which SET would take for
    /// one name.
    Text,
}

/// Settings that are lists of names: one string literal in a SET is one name of the list.
const NAME_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// A string as an SQL literal, whatever `standard_conforming_strings` is.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

impl Setting {
    fn sql(name: &str, value_sql: &str) -> Self {
        Self {
            name: name.into(),
            value: value_sql.into(),
            form: Form::Sql,
        }
    }

    /// The statement that gives a connection this value.
    fn write(&self, sql: &mut String) {
        // Writing to a String can't fail.
        let _ = match self.form {
            Form::Sql => write!(sql, "SET {} TO {};", quote_setting(&self.name), self.value),
            Form::Text => write!(
                sql,
                "SELECT pg_catalog.set_config({}, {}, false);",
                quote_literal(&self.name),
                quote_literal(&self.value)
            ),
        };
    }

    /// Whether it decides with whose rights the connection works.
    fn is_identity(&self) -> bool {
        matches!(self.name.as_ref(), "role" | "session_authorization")
    }
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

    /// The value that `name` is set to: the SQL text of it, or of a list of names perhaps the server's own text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|s| s.value.as_ref())
    }

    /// The names of settings that applications have made up: those with a dot.
    pub fn custom_names(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .map(|s| s.name.as_ref())
            .filter(|name| name.contains('.'))
    }

    fn find(&self, name: &str) -> Option<&Setting> {
        let at = self.0.binary_search_by(|s| s.name.as_ref().cmp(name)).ok()?;
        self.0.get(at)
    }

    /// These settings with `name` set to what the SQL text `value_sql` says.
    #[must_use]
    pub fn with(&self, name: &str, value_sql: &str) -> Self {
        self.with_setting(Setting::sql(name, value_sql))
    }

    /// These settings with `name` set to what the server calls `value`: unquoted, a list as one string.
    #[must_use]
    pub fn with_value(&self, name: &str, value: &str) -> Self {
        if !NAME_LISTS.contains(&name) {
            return self.with(name, &quote_literal(value));
        }
        self.with_setting(Setting {
            name: name.into(),
            value: value.into(),
            form: Form::Text,
        })
    }

    /// The statements that set these, one by one. Those that decide with whose rights a session works are not among them.
    pub fn statements(&self) -> impl Iterator<Item = (&str, String)> {
        let other = self.0.iter().filter(|setting| !setting.is_identity());
        other.map(|setting| {
            let mut sql = String::new();
            setting.write(&mut sql);
            (setting.name.as_ref(), sql)
        })
    }

    /// These settings, with those of `below` that they don't have.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let missing = below.0.iter().filter(|s| self.find(&s.name).is_none());
        missing.fold(self.clone(), |all, setting| all.with_setting(setting.clone()))
    }

    fn with_setting(&self, setting: Setting) -> Self {
        let name = setting.name.as_ref();
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
    /// other SET runs with the rights that the connection was opened with; a SET ROLE ends with a SET SESSION
    /// AUTHORIZATION, so it comes after that.
    pub fn statements_towards(&self, wanted: &Settings) -> Option<String> {
        if self == wanted {
            return None;
        }
        let mut sql = String::new();
        let (identity, other): (Vec<&Setting>, Vec<&Setting>) =
            self.0.iter().partition(|setting| setting.is_identity());
        for setting in &identity {
            // Writing to a String can't fail.
            let _ = write!(sql, "RESET {};", quote_setting(&setting.name));
        }
        for setting in other.iter().filter(|s| wanted.find(&s.name).is_none()) {
            let _ = write!(sql, "RESET {};", quote_setting(&setting.name));
        }
        let (identity, other): (Vec<&Setting>, Vec<&Setting>) =
            wanted.0.iter().partition(|setting| setting.is_identity());
        for setting in other.iter().filter(|s| self.find(&s.name) != Some(**s)) {
            setting.write(&mut sql);
        }
        for setting in identity.iter().rev() {
            setting.write(&mut sql);
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
                setting.value
            );
        }
        Some(sql)
    }

    /// What the setting is at this moment, SET LOCAL included.
    pub fn effective(&self, name: &str) -> Option<&str> {
        let local = self.transaction.as_ref().map_or(&[][..], |t| t.local.as_slice());
        match local.iter().rev().find(|s| s.name.as_ref() == name) {
            Some(setting) => Some(setting.value.as_ref()),
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
            transaction.local.push(Setting::sql(name, value_sql));
        }
    }

    /// A RESET, or a SET ... TO DEFAULT, succeeded.
    pub fn reset(&mut self, name: &str, startup: &Settings) {
        self.current = match startup.find(name) {
            Some(setting) => self.current.with_setting(setting.clone()),
            None => self.current.without(name),
        };
        self.forget_local(name);
    }

    /// A RESET ALL succeeded. The role and the session authorization are not settings that it touches.
    pub fn reset_all(&mut self, startup: &Settings) {
        let mut all = startup.clone();
        for name in ["role", "session_authorization"] {
            all = match self.current.find(name) {
                Some(setting) => all.with_setting(setting.clone()),
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

    /// The server told what is set outside a transaction, however it came to be so.
    pub fn adopt(&mut self, told: Settings) {
        self.current = told;
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
                "RESET \"role\";RESET \"work_mem\";SET \"app\".\"tenant\" TO '7';SET \"search_path\" TO x, y;SET \"role\" TO 'b';"
            )
        );
        let none = Settings::default();
        assert_eq!(
            from.statements_towards(&none).as_deref(),
            Some("RESET \"role\";RESET \"work_mem\";")
        );
    }

    #[test]
    fn the_session_user_is_reset_last_and_set_before_the_role() {
        let from = Settings::default().with("role", "'a'").with("work_mem", "'1MB'");
        let to = from
            .with("session_authorization", "'b'")
            .with("work_mem", "'2MB'");
        assert_eq!(
            from.statements_towards(&to).as_deref(),
            Some(
                "RESET \"role\";SET \"work_mem\" TO '2MB';SET \"session_authorization\" TO 'b';SET \"role\" TO 'a';"
            )
        );
        assert_eq!(
            to.statements_towards(&Settings::default()).as_deref(),
            Some("RESET \"role\";RESET \"session_authorization\";RESET \"work_mem\";")
        );
    }

    #[test]
    fn lists_of_names_are_carried_as_the_server_writes_them() {
        let told = Settings::default()
            .with_value("search_path", "\"$user\", it's")
            .with_value("datestyle", "ISO, MDY");
        assert_eq!(
            Settings::default().statements_towards(&told).as_deref(),
            Some(
                "SET \"datestyle\" TO 'ISO, MDY';SELECT pg_catalog.set_config('search_path', '\"$user\", it''s', false);"
            )
        );
        assert_eq!(told.get("search_path"), Some("\"$user\", it's"));
    }

    #[test]
    fn what_a_session_began_with_stands_where_nothing_else_does() {
        let startup = Settings::default().with("a.b", "'1'").with("timezone", "'UTC'");
        let told = Settings::default().with("timezone", "'CET'");
        assert_eq!(told.over(&startup), startup.with("timezone", "'CET'"));
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
