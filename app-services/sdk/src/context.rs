//! What a call brings with it and hands on: the causal token, the time that is left, the trace.

use crate::deadline::{Deadline, GRPC_TIMEOUT_HEADER, TIMEOUT_HEADER, format_timeout, parse_timeout};
use crate::error::{Error, Result};
use crate::source::{REPORT_HEADER, REPORT_SOURCE, SOURCE_HEADER, Sources};
use crate::token::{Causality, TOKEN_HEADER};
use crate::trace::{TRACE_HEADER, TraceParent};
use http::{HeaderMap, HeaderValue};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the answers to one caller must hold; shared by all that is done for that caller, in several calls at once as well.
///
/// A transaction that wrote adds its positions before its result is handed over, so whatever is read afterwards in the same session, or
/// by whoever is given its token, sees the write.
#[derive(Clone, Debug, Default)]
pub struct Session(Arc<Mutex<Causality>>);

impl Session {
    /// A session in which nothing has been seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// A session that goes on from a token.
    pub fn after(causality: Causality) -> Self {
        Self(Arc::new(Mutex::new(causality)))
    }

    /// What must be in its answers.
    pub fn causality(&self) -> Causality {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds what was seen elsewhere.
    pub fn add(&self, seen: &Causality) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.join(seen);
    }
}

/// One call of ours by somebody, for whom we may call others. Clones share the session.
#[derive(Clone, Debug, Default)]
pub struct Context {
    session: Session,
    deadline: Deadline,
    trace: Option<TraceParent>,
    /// Where its reads were answered, if the caller wants to know.
    sources: Option<Sources>,
}

impl Context {
    /// A call that nobody waits for, with a session of its own: work that a service does by itself.
    pub fn background() -> Self {
        Self::default()
    }

    /// Reads the headers of a request; of gRPC, `request.metadata()` as headers. The deadline is the request's, but at most
    /// `longest` from now.
    ///
    /// # Errors
    /// The caller's fault: a malformed token or timeout.
    pub fn from_headers(headers: &HeaderMap, longest: Duration) -> Result<Self> {
        let mut deadline = Deadline::after(longest);
        for name in [TIMEOUT_HEADER, GRPC_TIMEOUT_HEADER] {
            if let Some(timeout) = text(headers, name)? {
                deadline = deadline.earlier(Deadline::after(parse_timeout(timeout)?));
            }
        }
        let causality = text(headers, TOKEN_HEADER)?.map(Causality::parse).transpose()?;
        Ok(Self {
            session: Session::after(causality.unwrap_or_default()),
            deadline,
            trace: text(headers, TRACE_HEADER)
                .ok()
                .flatten()
                .and_then(TraceParent::parse),
            sources: headers
                .get(REPORT_HEADER)
                .filter(|asked| *asked == REPORT_SOURCE)
                .map(|_| Sources::default()),
        })
    }

    /// The same call with this session.
    #[must_use]
    pub fn with_session(mut self, session: Session) -> Self {
        self.session = session;
        self
    }

    /// The same call with at most this much time left.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.deadline = self.deadline.earlier(Deadline::after(timeout));
        self
    }

    /// The same call as a part of this trace.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<TraceParent>) -> Self {
        self.trace = trace;
        self
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// When the caller stops waiting.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Where the call stands in a trace.
    pub fn trace(&self) -> Option<TraceParent> {
        self.trace
    }

    /// Where its reads were answered, if the caller wants to know.
    pub(crate) fn sources(&self) -> Option<&Sources> {
        self.sources.as_ref()
    }

    /// Adds what another service has to know to the headers of a request to it: token, time left, trace, what the caller wants to know.
    pub fn write_request(&self, headers: &mut HeaderMap) {
        self.write_token(headers);
        if self.sources.is_some() {
            put(headers, REPORT_HEADER, REPORT_SOURCE);
        }
        if let Some(left) = self.deadline.left() {
            put(headers, TIMEOUT_HEADER, &format_timeout(left));
        }
        if let Some(trace) = self.trace {
            put(headers, TRACE_HEADER, &trace.child(rand::random()).to_string());
        }
    }

    /// Adds what the caller has to know to the headers of an answer: the token, and where reads were answered if it has asked.
    pub fn write_answer(&self, headers: &mut HeaderMap) {
        self.write_token(headers);
        let sources = self.sources.as_ref().map(Sources::to_string);
        if let Some(sources) = sources.filter(|sources| !sources.is_empty()) {
            put(headers, SOURCE_HEADER, &sources);
        }
    }

    fn write_token(&self, headers: &mut HeaderMap) {
        match self.session.causality() {
            Causality::Nothing => {}
            seen => put(headers, TOKEN_HEADER, &seen.to_string()),
        }
    }

    /// Reads the headers of another service's answer: what it has written is seen from now on.
    ///
    /// # Errors
    /// A malformed token.
    pub fn read_answer(&self, headers: &HeaderMap) -> Result<()> {
        if let Some(token) = text(headers, TOKEN_HEADER)? {
            self.session.add(&Causality::parse(token)?);
        }
        if let Some(sources) = &self.sources
            && let Some(told) = text(headers, SOURCE_HEADER)?
        {
            sources.add(told);
        }
        Ok(())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|error| Error::caller(format!("the header {name} is not text")).with_source(error))
}

/// All that is put is ASCII, so that nothing is left out.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_hands_on_what_it_was_given_and_what_it_has_seen() {
        let mut headers = HeaderMap::new();
        put(&mut headers, TOKEN_HEADER, "rw1/1/0:1:a");
        put(&mut headers, GRPC_TIMEOUT_HEADER, "2S");
        put(
            &mut headers,
            TRACE_HEADER,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        );
        let context = Context::from_headers(&headers, Duration::from_secs(60)).unwrap();
        let mut answer = HeaderMap::new();
        put(&mut answer, TOKEN_HEADER, "rw1/1/1:1:b");
        context.clone().read_answer(&answer).unwrap();

        let mut request = HeaderMap::new();
        context.write_request(&mut request);
        assert_eq!(request[TOKEN_HEADER], "rw1/1/0:1:a/1:1:b");
        let left = parse_timeout(request[TIMEOUT_HEADER].to_str().unwrap()).unwrap();
        assert!(left <= Duration::from_secs(2) && left > Duration::from_secs(1));
        let trace = TraceParent::parse(request[TRACE_HEADER].to_str().unwrap()).unwrap();
        assert_eq!(trace.trace_id(), context.trace().unwrap().trace_id());
        assert_ne!(
            trace,
            context.trace().unwrap(),
            "the next service's parent is a span of ours"
        );
    }

    #[test]
    fn malformed_headers_are_the_callers_fault() {
        for (name, value) in [(TOKEN_HEADER, "rw9/1"), (TIMEOUT_HEADER, "soon")] {
            let mut headers = HeaderMap::new();
            put(&mut headers, name, value);
            let error = Context::from_headers(&headers, Duration::from_secs(1)).unwrap_err();
            assert_eq!(error.blame(), crate::Blame::Caller);
        }
    }
}
