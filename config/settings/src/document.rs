//! Reads typed values out of the raw document and the environment, and notes every mistake with its place.
//!
//! A key counts as known because somebody asked for it: so the list that "did you mean" draws on can't be out of date.

use crate::context::{Context, Reported};
use crate::error::{Place, Problem, nearest};
use crate::units::{format_duration, format_size, parse_duration, parse_size};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with the place it came from.
#[derive(Clone, Debug)]
pub(crate) struct Field<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// A name that a choice offers: a value, or why it can't be had.
pub(crate) type Choice<T> = (&'static str, Result<T, &'static str>);

/// A value before its type is known.
enum Raw<'d> {
    Toml(&'d DeValue<'d>),
    Text(&'d str),
}

/// One table of the document, or the absence of one.
pub(crate) struct Section<'d> {
    context: &'d Context,
    /// How messages call it: nothing, `[listen]`, `[[user]]`.
    label: String,
    table: Option<&'d DeTable<'d>>,
    span: Range<usize>,
}

impl<'d> Section<'d> {
    /// The whole document.
    pub(crate) fn root(context: &'d Context, document: &'d DeTable<'d>) -> Self {
        Self {
            context,
            label: String::new(),
            table: Some(document),
            span: 0..0,
        }
    }

    /// The place of the table itself, for what it lacks.
    pub(crate) fn place(&self) -> Place {
        Place::Text(self.span.clone())
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn context(&self) -> &'d Context {
        self.context
    }

    pub(crate) fn report(&self, problem: Problem) -> Reported {
        self.context.report(problem)
    }

    fn ask(&self, key: &'static str) {
        self.context.note_key(&self.label, key);
    }

    fn get(&self, key: &'static str) -> Option<Field<Raw<'d>>> {
        self.ask(key);
        if let Some((name, text)) = self.context.override_of(&self.label, key) {
            return Some(Field {
                value: Raw::Text(text),
                place: Place::Environment(name),
            });
        }
        let value = self.table?.get(key)?;
        Some(Field {
            value: Raw::Toml(value.get_ref()),
            place: Place::Text(value.span()),
        })
    }

    /// The table under `key`; an absent one has no keys.
    pub(crate) fn section(&self, key: &'static str) -> Section<'d> {
        self.ask(key);
        let label = if self.label.is_empty() {
            format!("[{key}]")
        } else {
            format!("{key} of {}", self.label)
        };
        let found = self.table.and_then(|table| table.get(key));
        let table = found.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                let message = format!("`{key}` must be a table, not {}", kind(value.get_ref()));
                self.report(Problem::new(&Place::Text(value.span()), message));
            }
            table
        });
        let span = found.map_or(0..0, Spanned::span);
        Section {
            context: self.context,
            label,
            table,
            span,
        }
    }

    /// The table under `key`, if there is one.
    pub(crate) fn optional_section(&self, key: &'static str) -> Option<Section<'d>> {
        self.ask(key);
        self.table?.get(key)?;
        Some(self.section(key))
    }

    /// The tables of the list `[[key]]`.
    pub(crate) fn list(&self, key: &'static str) -> Vec<Section<'d>> {
        self.ask(key);
        let Some(found) = self.table.and_then(|table| table.get(key)) else {
            return Vec::new();
        };
        let parent = self.label.trim_matches(['[', ']']);
        let label = if parent.is_empty() {
            format!("[[{key}]]")
        } else {
            format!("[[{parent}.{key}]]")
        };
        let not_a_list = |value: &DeValue<'_>, span: Range<usize>| {
            let message = format!(
                "`{key}` must be a list of tables, written {label}, not {}",
                kind(value)
            );
            self.report(Problem::new(&Place::Text(span), message));
        };
        let Some(items) = found.get_ref().as_array() else {
            not_a_list(found.get_ref(), found.span());
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => {
                    let label = label.clone();
                    sections.push(Section {
                        context: self.context,
                        label,
                        table: Some(table),
                        span: item.span(),
                    });
                }
                None => not_a_list(item.get_ref(), item.span()),
            }
        }
        sections
    }

    /// Notes the keys that nobody asked for. Call once, after the last read.
    pub(crate) fn close(&self) {
        for (key, value) in self.table.into_iter().flat_map(DeTable::iter) {
            let name: &str = key.get_ref();
            if !self.context.is_known(&self.label, name) {
                // It may be the misspelt key of a secret.
                hide(value, self.context);
                self.context.note_unknown(&self.label, name, key.span());
            }
        }
    }

    fn wrong(&self, key: &str, field: &Field<Raw<'_>>, expected: &str) -> Reported {
        let found = match &field.value {
            Raw::Toml(DeValue::String(text)) if shown(key) => format!("`{text}`"),
            Raw::Text(text) if shown(key) => format!("`{text}`"),
            Raw::Toml(DeValue::Integer(number)) if shown(key) => format!("`{number}`"),
            Raw::Toml(value) => kind(value).to_owned(),
            Raw::Text(_) => "this text".to_owned(),
        };
        self.report(Problem::new(
            &field.place,
            format!("`{key}` must be {expected}, not {found}"),
        ))
    }

    /// Text, as it is.
    pub(crate) fn text(&self, key: &'static str) -> Result<Option<Field<String>>, Reported> {
        let Some(field) = self.get(key) else {
            return Ok(None);
        };
        let value = match &field.value {
            Raw::Toml(DeValue::String(text)) => text.clone().into_owned(),
            Raw::Text(text) => (*text).to_owned(),
            Raw::Toml(_) => return Err(self.wrong(key, &field, "a string")),
        };
        if value.is_empty() || value.contains('\0') {
            return Err(self.report(Problem::new(
                &field.place,
                format!("`{key}` is empty or holds a zero byte"),
            )));
        }
        Ok(Some(Field {
            value,
            place: field.place,
        }))
    }

    /// Text, or none where it is given as empty.
    pub(crate) fn text_or_none(
        &self,
        key: &'static str,
        default: Option<&str>,
    ) -> Result<Option<String>, Reported> {
        match self.get(key).map(|field| field.value) {
            None => Ok(default.map(str::to_owned)),
            Some(Raw::Toml(DeValue::String(text))) if text.is_empty() => Ok(None),
            Some(Raw::Text("")) => Ok(None),
            Some(_) => Ok(self.text(key)?.map(|field| field.value)),
        }
    }

    /// Text that must be there.
    pub(crate) fn required_text(&self, key: &'static str) -> Result<Field<String>, Reported> {
        self.text(key)?.ok_or_else(|| {
            let at = if self.label.is_empty() {
                "the configuration"
            } else {
                &self.label
            };
            self.report(Problem::new(&self.place(), format!("{at} has no `{key}`")))
        })
    }

    /// Text that is a secret: masked in every message.
    pub(crate) fn secret(&self, key: &'static str) -> Result<Option<Field<String>>, Reported> {
        if let Some(Field {
            place: Place::Text(span),
            ..
        }) = self.get(key)
        {
            self.context.note_secret(span);
        }
        self.text(key)
    }

    /// A list of strings; in the environment separated by commas.
    pub(crate) fn texts(&self, key: &'static str) -> Result<Option<Field<Vec<Field<String>>>>, Reported> {
        let Some(field) = self.get(key) else {
            return Ok(None);
        };
        let expected = "a list of strings";
        let mut value = Vec::new();
        match &field.value {
            Raw::Text(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                value.extend(parts.map(|part| Field {
                    value: part.to_owned(),
                    place: field.place.clone(),
                }));
            }
            Raw::Toml(DeValue::Array(items)) => {
                for item in items.iter() {
                    let Some(text) = item.get_ref().as_str().filter(|text| !text.is_empty()) else {
                        let at = Field {
                            value: Raw::Toml(item.get_ref()),
                            place: Place::Text(item.span()),
                        };
                        return Err(self.wrong(key, &at, expected));
                    };
                    value.push(Field {
                        value: text.to_owned(),
                        place: Place::Text(item.span()),
                    });
                }
            }
            Raw::Toml(_) => return Err(self.wrong(key, &field, expected)),
        }
        Ok(Some(Field {
            value,
            place: field.place,
        }))
    }

    /// Yes or no, also written as 1 and 0, or the default.
    pub(crate) fn flag(&self, key: &'static str, default: bool) -> Result<bool, Reported> {
        let Some(field) = self.get(key) else {
            return Ok(default);
        };
        let value = match &field.value {
            Raw::Toml(DeValue::Boolean(value)) => Some(*value),
            Raw::Toml(DeValue::Integer(number)) => flag(number.as_str()),
            Raw::Text(text) => flag(text),
            Raw::Toml(_) => None,
        };
        value.ok_or_else(|| self.wrong(key, &field, "true or false"))
    }

    /// A whole number in `range`.
    pub(crate) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<Field<u64>>, Reported> {
        let Some(field) = self.get(key) else {
            return Ok(None);
        };
        let value = match &field.value {
            Raw::Toml(DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            Raw::Text(text) => text.parse().ok(),
            Raw::Toml(_) => None,
        };
        match value.filter(|value| range.contains(value)) {
            Some(value) => Ok(Some(Field {
                value,
                place: field.place,
            })),
            None => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.wrong(key, &field, &expected))
            }
        }
    }

    /// A whole number in `range` that fits a `usize`, or the default.
    pub(crate) fn count(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: usize,
    ) -> Result<usize, Reported> {
        let Some(field) = self.number(key, range)? else {
            return Ok(default);
        };
        usize::try_from(field.value)
            .map_err(|_| self.report(Problem::new(&field.place, "too large for this machine")))
    }

    /// Bytes in `range`, or the default.
    pub(crate) fn size(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, Reported> {
        let Some(field) = self.get(key) else {
            return Ok(default);
        };
        let value = match &field.value {
            Raw::Toml(DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            Raw::Toml(DeValue::String(text)) => parse_size(text),
            Raw::Text(text) => parse_size(text),
            Raw::Toml(_) => None,
        };
        value.filter(|value| range.contains(value)).ok_or_else(|| {
            let (least, most) = (format_size(*range.start()), format_size(*range.end()));
            self.wrong(
                key,
                &field,
                &format!("a size from {least} to {most}, such as 65536 or \"64KiB\""),
            )
        })
    }

    /// A time in `range`, or the default.
    pub(crate) fn time(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Result<Duration, Reported> {
        let Some(field) = self.get(key) else {
            return Ok(default);
        };
        self.time_of(key, &field, range, "")
    }

    /// A time in `range` or "off", or the default.
    pub(crate) fn time_or_off(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Option<Duration>,
    ) -> Result<Option<Duration>, Reported> {
        let Some(field) = self.get(key) else {
            return Ok(default);
        };
        match &field.value {
            Raw::Toml(DeValue::String(text)) if text == "off" => Ok(None),
            Raw::Text("off") => Ok(None),
            Raw::Toml(_) | Raw::Text(_) => self.time_of(key, &field, range, " or \"off\"").map(Some),
        }
    }

    fn time_of(
        &self,
        key: &str,
        field: &Field<Raw<'d>>,
        range: RangeInclusive<Duration>,
        or: &str,
    ) -> Result<Duration, Reported> {
        let value = match &field.value {
            Raw::Toml(DeValue::String(text)) => parse_duration(text),
            Raw::Text(text) => parse_duration(text),
            Raw::Toml(_) => None,
        };
        value.filter(|value| range.contains(value)).ok_or_else(|| {
            let (least, most) = (format_duration(*range.start()), format_duration(*range.end()));
            self.wrong(
                key,
                field,
                &format!("a time from {least} to {most}{or}, such as \"500ms\" or \"2s\""),
            )
        })
    }

    /// One of `choices`, or the default.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: &'static str,
        choices: &[Choice<T>],
        default: T,
    ) -> Result<T, Reported> {
        let Some(field) = self.text(key)? else {
            return Ok(default);
        };
        self.choose(key, &field, choices)
    }

    /// One of `choices`; must be there.
    pub(crate) fn required_choice<T: Copy>(
        &self,
        key: &'static str,
        choices: &[Choice<T>],
    ) -> Result<Field<T>, Reported> {
        let field = self.required_text(key)?;
        Ok(Field {
            value: self.choose(key, &field, choices)?,
            place: field.place,
        })
    }

    fn choose<T: Copy>(
        &self,
        key: &str,
        field: &Field<String>,
        choices: &[Choice<T>],
    ) -> Result<T, Reported> {
        let given = &field.value;
        let available = || {
            choices
                .iter()
                .filter(|(_, value)| value.is_ok())
                .map(|(name, _)| *name)
        };
        match choices.iter().find(|(name, _)| name == given) {
            Some((_, Ok(value))) => Ok(*value),
            Some((_, Err(why))) => {
                let help = format!("available: {}", available().collect::<Vec<_>>().join(", "));
                Err(self
                    .report(Problem::new(&field.place, format!("`{key} = \"{given}\"`: {why}")).help(help)))
            }
            None => {
                let names = available().collect::<Vec<_>>().join(", ");
                let message = format!("`{key}` must be one of {names}, not `{given}`");
                Err(self.report(Problem::new(&field.place, message).maybe_help(nearest(given, available()))))
            }
        }
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// Notes all values in `value` as secrets.
fn hide(value: &Spanned<DeValue<'_>>, context: &Context) {
    match value.get_ref() {
        DeValue::Table(table) => table.iter().for_each(|(_, value)| hide(value, context)),
        DeValue::Array(items) => items.iter().for_each(|item| hide(item, context)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => context.note_secret(value.span()),
    }
}

/// Whether messages may show the value of `key`.
fn shown(key: &str) -> bool {
    !crate::mask::SECRET_KEYS.contains(&key)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
