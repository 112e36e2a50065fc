//! Passing a request on, and its answer back.

use crate::{Behind, Gateway, Refusal, route};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ringway_sdk::breaker::Outcome;
use ringway_sdk::rpc::SERVICE_KEY_HEADER;
use ringway_sdk::web::{CLIENT_HEADER, Caller, ClientAddress, Problem};
use ringway_sdk::{Context, SOURCE_HEADER, TOKEN_HEADER};
use std::time::{Duration, Instant};

/// A request without an answer for so long counts against the service when its time is over.
const SLOW: Duration = Duration::from_secs(1);

/// Headers that belong to a connection and not to a request, and those that only we may set.
const OWN: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    CLIENT_HEADER,
    SERVICE_KEY_HEADER,
];

/// What the gateway tells itself, from what it was told.
const RETOLD: [&str; 2] = [TOKEN_HEADER, SOURCE_HEADER];

/// A request as it is passed on.
struct Asked {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Passes a request on to the service that answers its path.
pub(crate) async fn forward(
    State(gateway): State<Gateway>,
    context: Context,
    ClientAddress(address): ClientAddress,
    caller: Option<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    gateway.0.by_address.take(&address.to_string()).await?;
    if let Some(caller) = caller {
        gateway.0.by_user.take(&caller.user_id.to_string()).await?;
    }
    let (name, behind, url) = gateway.target(request.uri())?;
    let mut headers = HeaderMap::with_capacity(request.headers().len() + 5);
    for (header, value) in request.headers() {
        let dropped = OWN.contains(&header.as_str()) || *header == HOST || *header == CONTENT_LENGTH;
        if !dropped {
            headers.append(header, value.clone());
        }
    }
    context.write_request(&mut headers);
    headers.insert(SERVICE_KEY_HEADER, gateway.0.key.header());
    if let Ok(value) = HeaderValue::from_str(&address.to_string()) {
        headers.insert(CLIENT_HEADER, value);
    }
    if wants_socket(request.headers()) {
        return gateway
            .socket(name, behind, &context, (url, headers), request)
            .await;
    }
    let method = request.method().clone();
    let body = Bytes::from_request(request, &()).await;
    let body = match body {
        Ok(body) => body,
        // Too long, most likely: the layer makes a problem of it.
        Err(rejection) => return Ok(rejection.into_response()),
    };
    let asked = Asked {
        method,
        url,
        headers,
        body,
    };
    let answer = gateway.ask(name, behind, &context, &asked).await?;
    Ok(passed_back(answer, &context))
}

/// Whether the connection is to become a WebSocket.
fn wants_socket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
}

impl Gateway {
    /// Who answers, and where.
    fn target(&self, uri: &Uri) -> Result<(&'static str, &Behind, String), Refusal> {
        let path = uri.path();
        if !route::is_plain(path) {
            return Err(Refusal::CrookedPath);
        }
        let name = route::of(path).ok_or(Refusal::NoRoute)?;
        let behind = self.0.behind.get(name).ok_or(Refusal::NoRoute)?;
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        Ok((name, behind, format!("{}{path}{query}", behind.url)))
    }

    /// Asks a service, again if nothing can have been done.
    async fn ask(
        &self,
        name: &str,
        behind: &Behind,
        context: &Context,
        asked: &Asked,
    ) -> Result<reqwest::Response, Problem> {
        let once = || self.ask_once(name, behind, context, asked);
        match once().await {
            // A connection that was kept open was closed by a service that ends.
            Err(Failed::Broken) if asked.method.is_safe() => once().await,
            Err(Failed::Refused) => once().await,
            answer => answer,
        }
        .map_err(|failed| failed.problem(name))
    }

    async fn ask_once(
        &self,
        name: &str,
        behind: &Behind,
        context: &Context,
        asked: &Asked,
    ) -> Result<reqwest::Response, Failed> {
        let permit = behind
            .guard
            .ask()
            .map_err(|refused| Failed::LeftAlone(refused.retry_after))?;
        let began = Instant::now();
        let request = self
            .0
            .http
            .request(asked.method.clone(), &asked.url)
            .headers(asked.headers.clone())
            .body(asked.body.clone());
        let left = context.deadline().left().unwrap_or(Duration::MAX);
        let (outcome, result) = match tokio::time::timeout(left, request.send()).await {
            Ok(Ok(answer)) => (Outcome::Success, Ok(answer)),
            Ok(Err(error)) => {
                tracing::warn!(service = name, %error, "a service can't be reached");
                let failed = if error.is_connect() {
                    Failed::Refused
                } else {
                    Failed::Broken
                };
                (Outcome::Failure, Err(failed))
            }
            Err(_) if began.elapsed() >= SLOW => (Outcome::Failure, Err(Failed::Late)),
            Err(_) => (Outcome::Unknown, Err(Failed::Late)),
        };
        behind.guard.tell(permit, outcome);
        result
    }

    /// Joins the client's connection and one to a service.
    async fn socket(
        &self,
        name: &str,
        behind: &Behind,
        context: &Context,
        (url, mut headers): (String, HeaderMap),
        mut request: Request,
    ) -> Result<Response, Problem> {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let asked = Asked {
            method: request.method().clone(),
            url,
            headers,
            body: Bytes::new(),
        };
        let answer = self.ask_once(name, behind, context, &asked).await;
        let answer = answer.map_err(|failed| failed.problem(name))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(passed_back(answer, context));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = answer.headers().clone();
        let client = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (Ok(client), Ok(mut service)) = (client.await, answer.upgrade().await) else {
                return;
            };
            // Whoever closes it, both ends are closed.
            drop(tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut service).await);
        });
        Ok(response)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug)]
enum Failed {
    /// There was no connection.
    Refused,
    /// The connection broke: the request may have been carried out.
    Broken,
    /// The time is over.
    Late,
    /// The service has been failing.
    LeftAlone(Duration),
}

impl Failed {
    fn problem(self, name: &str) -> Problem {
        let unavailable = || {
            Problem::unavailable(
                "service-unavailable",
                format!("the {name} service does not answer"),
            )
        };
        match self {
            Self::Refused | Self::Broken => unavailable().after_seconds(1),
            Self::Late => Problem::deadline(),
            Self::LeftAlone(pause) => unavailable().after_seconds(pause.as_secs() + 1),
        }
    }
}

/// The answer of a service as ours; it ends as the service ends it.
fn passed_back(answer: reqwest::Response, context: &Context) -> Response {
    // A token that can't be read is no news.
    drop(context.read_answer(answer.headers()));
    let (status, theirs) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    let kept = |name: &HeaderName| {
        *name != TRANSFER_ENCODING && !RETOLD.contains(&name.as_str()) && !OWN.contains(&name.as_str())
    };
    for (header, value) in &theirs {
        if kept(header) {
            response.headers_mut().append(header, value.clone());
        }
    }
    response
}
