//! Problems as gRPC statuses, and back.

use crate::saga::Outcome;
use crate::web::Problem;
use http::StatusCode;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// The metadata beside a status: the problem's word, its HTTP status, and whether it may work later.
const KIND: &str = "ringway-problem";
const HTTP: &str = "ringway-problem-status";
const RETRYABLE: &str = "ringway-problem-retryable";

/// gRPC's code for an HTTP status.
fn code(problem: &Problem) -> Code {
    match problem.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT if problem.retryable => Code::Aborted,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::NOT_IMPLEMENTED => Code::Unimplemented,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        status if status.is_server_error() => Code::Internal,
        _ => Code::FailedPrecondition,
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let mut metadata = MetadataMap::with_capacity(3);
        let http = problem.status.to_string();
        for (name, value) in [
            (KIND, &*problem.kind),
            (HTTP, &http),
            (RETRYABLE, if problem.retryable { "true" } else { "false" }),
        ] {
            if let Ok(value) = MetadataValue::try_from(value) {
                metadata.insert(name, value);
            }
        }
        let message = match &problem.detail {
            Some(detail) => format!("{}: {detail}", problem.title),
            None => problem.title.to_string(),
        };
        Self::with_metadata(code(&problem), message, metadata)
    }
}

impl From<crate::Error> for Status {
    fn from(error: crate::Error) -> Self {
        Self::from(Problem::from(error))
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let field = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok());
        let http = field(HTTP).and_then(|text| text.parse().ok());
        let http = http.and_then(|number: u16| StatusCode::from_u16(number).ok());
        let (Some(kind), Some(http)) = (field(KIND), http) else {
            return without_metadata(&status);
        };
        let problem = Self::new(http, kind.to_owned(), status.message().to_owned());
        match field(RETRYABLE) {
            Some("true") => problem.retryable(),
            _ => problem,
        }
    }
}

/// What tonic says by itself, on either side.
fn without_metadata(status: &Status) -> Problem {
    match status.code() {
        Code::DeadlineExceeded => Problem::deadline(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted | Code::ResourceExhausted => {
            tracing::debug!(%status, "a call failed");
            Problem::unavailable("peer-unavailable", "another service does not answer")
        }
        _ => {
            tracing::error!(%status, "a call is wrong");
            Problem::internal()
        }
    }
}

/// What a saga makes of a problem: what was refused is undone, what failed is tried again.
impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        let reason = problem.kind.to_string();
        if problem.is_refusal() {
            Self::Refused(reason)
        } else {
            Self::Again(problem.to_string())
        }
    }
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self::from(Problem::from(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_comes_back_as_it_was() {
        for problem in [
            Problem::new(StatusCode::CONFLICT, "out-of-stock", "there are too few"),
            Problem::new(StatusCode::PAYMENT_REQUIRED, "declined", "the card was declined"),
            Problem::unavailable("overloaded", "too much is going on"),
            Problem::deadline(),
        ] {
            assert_eq!(Problem::from(Status::from(problem.clone())), problem);
        }
        let about = Problem::invalid("name");
        let back = Problem::from(Status::from(about.clone()));
        assert_eq!((back.kind, back.status), (about.kind, about.status));
    }

    #[test]
    fn only_what_was_refused_is_undone() {
        let outcome = |status: Status| Outcome::from(status);
        let declined = Problem::new(StatusCode::PAYMENT_REQUIRED, "declined", "the card was declined");
        assert_eq!(outcome(declined.into()), Outcome::Refused("declined".to_owned()));
        for status in [
            Status::unavailable("connection refused"),
            Status::internal("bug"),
            Status::unknown("broken pipe"),
            Problem::deadline().into(),
        ] {
            assert!(matches!(outcome(status), Outcome::Again(_)));
        }
    }
}
