//! What is wrong with a configuration: every mistake, with its place and what to write instead.

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, SourceSpan,
};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Width to which rendered errors are wrapped.
const RENDER_WIDTH: usize = 110;

/// Every mistake found in a configuration: always the operator's to mend.
#[derive(Debug, Diagnostic)]
pub struct SettingsError {
    #[source_code]
    source: NamedSource<Arc<str>>,
    #[related]
    problems: Vec<Problem>,
}

/// One mistake.
#[derive(Debug, Diagnostic)]
pub(crate) struct Problem {
    message: String,
    #[help]
    help: Option<String>,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
}

impl Problem {
    /// A mistake at `place`.
    pub(crate) fn new(place: &Place, message: impl Into<String>) -> Self {
        let message = message.into();
        match place {
            Place::Text(span) => {
                let labels = vec![LabeledSpan::new_primary_with_span(None, span.clone())];
                Self {
                    message,
                    help: None,
                    labels,
                }
            }
            Place::Environment(name) => Self {
                message: format!("environment variable {name}: {message}"),
                help: None,
                labels: Vec::new(),
            },
        }
    }

    /// With what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With what to do about it, if that is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// With a second place.
    pub(crate) fn also(mut self, place: &Place, label: &str) -> Self {
        if let Place::Text(span) = place {
            self.labels
                .push(LabeledSpan::new_with_span(Some(label.to_owned()), span.clone()));
        }
        self
    }

    /// What is wrong, and what to do about it, for somebody who knows where.
    pub(crate) fn beside_its_place(&self) -> String {
        let message = match self.message.strip_prefix("environment variable ") {
            Some(rest) => rest.split_once(": ").map_or(rest, |(_, message)| message),
            None => &self.message,
        };
        match &self.help {
            Some(help) => format!("{message} ({help})"),
            None => message.to_owned(),
        }
    }

    fn offset(&self) -> usize {
        self.labels.first().map_or(usize::MAX, LabeledSpan::offset)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// These bytes of the file.
    Text(Range<usize>),
    /// This variable.
    Environment(String),
}

impl SettingsError {
    /// The mistakes in the file called `name`, whose `text` has its secrets masked.
    pub(crate) fn new(name: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::offset);
        Self {
            source: NamedSource::new(name, Arc::from(text)),
            problems,
        }
    }

    /// How many mistakes there are.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// The mistakes with the lines of the file that they are in, for a terminal.
    pub fn render(&self, colours: bool) -> String {
        let theme = if colours {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let count = self.problems.len();
        let plural = if count == 1 { "mistake" } else { "mistakes" };
        let mut out = format!("{count} {plural} in {}\n", self.source.name());
        for problem in &self.problems {
            let shown = Located {
                problem,
                source: &self.source,
            };
            let handler = GraphicalReportHandler::new_themed(theme.clone())
                .with_width(RENDER_WIDTH)
                .with_context_lines(1);
            // Writing into a String can't fail.
            let _ = handler.render_report(&mut out, &shown);
        }
        out
    }

    /// `file:line:column`, or only `file` for a mistake outside it.
    fn place(&self, problem: &Problem) -> String {
        let name = self.source.name();
        let found = problem.labels.first().and_then(|label| {
            let span = SourceSpan::from((label.offset(), label.len()));
            self.source.read_span(&span, 0, 0).ok()
        });
        match found {
            Some(at) => format!("{name}:{}:{}", at.line() + 1, at.column() + 1),
            None => name.to_owned(),
        }
    }
}

/// One line for each mistake: `file:line:column: what (what to do)`.
impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}: {}", self.place(problem), problem.message)?;
            if let Some(help) = &problem.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// A mistake together with the file it is in.
#[derive(Debug)]
struct Located<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<Arc<str>>,
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for Located<'_> {}

impl Diagnostic for Located<'_> {
    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.problem.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.problem.labels()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }
}

/// "did you mean `x`?" for the candidate nearest to `name`, if one is near enough to be a slip.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let folded = name.to_ascii_lowercase();
    let bound = (name.chars().count() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&folded, &candidate.to_ascii_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= bound && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
