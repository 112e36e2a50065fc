//! A partner on this machine, for tests and demos: it keeps what it did in memory, and fails in all the ways that partners do.
//!
//! How it deals with an errand is a question to the service that it plays the partner of ([`Plan`]). It does each errand once, whatever number of
//! times it is asked, and keeps a list of what it did ([`LocalPartner::effects`]).

use super::http::Secret;
use super::protocol::{Errand, Status, Told, Verdict, Webhook};
use super::signature::{SIGNATURE_HEADER, sign};
use crate::web::IDEMPOTENCY_HEADER;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path as StdPath;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use uuid::Uuid;

/// Between two tries of a webhook that wasn't taken.
const WEBHOOK_PAUSE: Duration = Duration::from_millis(200);

/// A webhook is tried so often.
const WEBHOOK_TRIES: u32 = 50;

/// The most operations that are kept.
const MAX_OPERATIONS: usize = 1_000_000;

/// How an errand is answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Manner {
    /// At once.
    Prompt,
    /// At once, and twice more by webhook.
    Twice,
    /// It is done, and no answer comes: only who asks for it later learns it.
    Silent,
    /// The first try is lost on its way; it isn't done.
    Lost,
    /// The first try fails with status 500; it isn't done.
    Broken,
    /// Done after a while; only a webhook tells, and later questions.
    Late(Duration),
}

/// How late a late answer is, where a word says no more.
const LATE: Duration = Duration::from_millis(400);

impl Manner {
    /// The manner that a card's token or an address asks for by its name; prompt for any other word.
    pub fn of_word(word: &str) -> Self {
        match word {
            "twice" => Self::Twice,
            "silent" => Self::Silent,
            "lost" => Self::Lost,
            "broken" => Self::Broken,
            "late" => Self::Late(LATE),
            _ => Self::Prompt,
        }
    }
}

/// How the partner deals with an errand.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// What it decides.
    pub verdict: Verdict,
    /// How it says so.
    pub manner: Manner,
}

/// Something that was done.
#[derive(Clone, PartialEq, Debug)]
pub struct Effect {
    /// What.
    pub kind: String,
    /// To what.
    pub subject: Uuid,
    /// Whose it is.
    pub reference: Uuid,
    /// The rest of the errand.
    pub details: Value,
}

type Decide = dyn Fn(&Errand) -> Plan + Send + Sync;

/// What a partner has been asked.
struct Known {
    errand: Errand,
    told: Told,
}

struct Shared {
    secret: Secret,
    webhooks: String,
    decide: Box<Decide>,
    http: reqwest::Client,
    operations: Mutex<HashMap<Uuid, Known>>,
    tried: Mutex<HashMap<Uuid, u32>>,
    effects: Mutex<Vec<Effect>>,
    /// Where it writes down what it was asked and has decided.
    journal: OnceLock<Mutex<File>>,
    down: AtomicBool,
}

/// A line of the journal. Of one operation the last line counts.
#[derive(Serialize, Deserialize)]
struct Entry {
    id: Uuid,
    errand: Errand,
    told: Told,
}

/// The partner. Clones share it.
#[derive(Clone)]
pub struct LocalPartner(Arc<Shared>);

impl fmt::Debug for LocalPartner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPartner").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is changed in one step, so nobody leaves it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LocalPartner {
    /// A partner that knows us by this secret, signs its webhooks with it, and sends them to this URL.
    pub fn new(
        secret: Secret,
        webhooks: impl Into<String>,
        decide: impl Fn(&Errand) -> Plan + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            secret,
            webhooks: webhooks.into(),
            decide: Box::new(decide),
            http: reqwest::Client::new(),
            operations: Mutex::default(),
            tried: Mutex::default(),
            effects: Mutex::default(),
            journal: OnceLock::new(),
            down: AtomicBool::new(false),
        }))
    }

    /// Writes down in a file what it does, and knows again what is in it: so that it may be killed.
    ///
    /// # Errors
    /// The file's; a line that it didn't write.
    pub fn remembering(self, journal: &StdPath) -> std::io::Result<Self> {
        let open = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(journal)?;
        let mut latest: HashMap<Uuid, Entry> = HashMap::new();
        for line in BufReader::new(&open).lines() {
            // A line that was cut off by a kill was not answered either.
            if let Ok(entry) = serde_json::from_str::<Entry>(&line?) {
                latest.insert(entry.id, entry);
            }
        }
        for (id, Entry { mut errand, told, .. }) in latest {
            errand.id = id;
            if told.status == Status::Succeeded {
                self.note(&errand);
            }
            if told.status == Status::Pending {
                let Plan { verdict, .. } = (self.0.decide)(&errand);
                tokio::spawn(self.clone().decide_late(errand.clone(), verdict.into(), LATE));
            }
            lock(&self.0.operations).insert(id, Known { errand, told });
        }
        // Only this call sets it, and it has the only handle.
        let _ = self.0.journal.set(Mutex::new(open));
        Ok(self)
    }

    /// Before anybody is told.
    fn write_down(&self, errand: &Errand, told: &Told) -> std::io::Result<()> {
        let Some(journal) = self.0.journal.get() else {
            return Ok(());
        };
        let entry = Entry {
            id: errand.id,
            errand: errand.clone(),
            told: told.clone(),
        };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        lock(journal).write_all(&line)
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/operations", post(operate))
            .route("/v1/operations/{id}", get(tell))
            .with_state(self.clone())
    }

    /// Listens on a port of this machine, with further routes; says which.
    ///
    /// # Errors
    /// The port can't be had.
    pub async fn listen(&self, port: u16, more: Router) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let router = self.router().merge(more);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    /// What it did, in this order.
    pub fn effects(&self) -> Vec<Effect> {
        lock(&self.0.effects).clone()
    }

    /// While it is down it answers nothing but 503.
    pub fn set_down(&self, is_down: bool) {
        self.0.down.store(is_down, Ordering::Release);
    }

    /// Tells something that nobody has asked for, as often as it takes to be heard.
    pub fn announce(&self, webhook: Webhook) {
        let partner = self.clone();
        tokio::spawn(async move { partner.send(&webhook).await });
    }

    fn is_known_by(&self, headers: &HeaderMap) -> bool {
        let expected = format!("Bearer {}", self.0.secret.reveal());
        headers
            .get(AUTHORIZATION)
            .is_some_and(|given| given.as_bytes() == expected.as_bytes())
    }

    /// Counts the tries of an errand.
    fn tries(&self, id: Uuid) -> u32 {
        let mut tried = lock(&self.0.tried);
        let tries = tried.entry(id).or_default();
        *tries += 1;
        *tries
    }

    /// Does an errand, once; gives what is known of it, and whether it was new.
    fn done(&self, errand: &Errand, told: &Told) -> Result<(Told, bool), StatusCode> {
        let mut operations = lock(&self.0.operations);
        if let Some(known) = operations.get(&errand.id) {
            if known.errand != *errand {
                return Err(StatusCode::CONFLICT);
            }
            return Ok((known.told.clone(), false));
        }
        if operations.len() >= MAX_OPERATIONS {
            return Err(StatusCode::INSUFFICIENT_STORAGE);
        }
        self.write_down(errand, told)
            .map_err(|_| StatusCode::INSUFFICIENT_STORAGE)?;
        let known = Known {
            errand: errand.clone(),
            told: told.clone(),
        };
        operations.insert(errand.id, known);
        drop(operations);
        if told.status == Status::Succeeded {
            self.note(errand);
        }
        Ok((told.clone(), true))
    }

    fn note(&self, errand: &Errand) {
        lock(&self.0.effects).push(Effect {
            kind: errand.kind.clone(),
            subject: errand.subject,
            reference: errand.reference,
            details: errand.details.clone(),
        });
    }

    /// Decides what was pending, and tells of it.
    async fn decide_late(self, errand: Errand, told: Told, after: Duration) {
        tokio::time::sleep(after).await;
        if let Err(error) = self.write_down(&errand, &told) {
            tracing::error!(%error, "the journal can't be written");
            return;
        }
        if let Some(known) = lock(&self.0.operations).get_mut(&errand.id) {
            known.told = told.clone();
        }
        if told.status == Status::Succeeded {
            self.note(&errand);
        }
        self.send(&webhook(&errand, told)).await;
    }

    async fn send(&self, webhook: &Webhook) {
        let Ok(body) = serde_json::to_vec(webhook) else {
            return;
        };
        for _ in 0..WEBHOOK_TRIES {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let signature = sign(self.0.secret.reveal(), now.as_secs(), &body);
            let request = self
                .0
                .http
                .post(&self.0.webhooks)
                .header(SIGNATURE_HEADER, signature);
            let request = request.body(body.clone()).timeout(Duration::from_secs(5));
            if request
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return;
            }
            tokio::time::sleep(WEBHOOK_PAUSE).await;
        }
        tracing::warn!(operation = %webhook.operation, "a webhook was not taken");
    }
}

fn webhook(errand: &Errand, told: Told) -> Webhook {
    Webhook {
        operation: errand.id,
        reference: errand.reference,
        subject: errand.subject,
        kind: errand.kind.clone(),
        told,
    }
}

/// `POST /v1/operations`
async fn operate(
    State(partner): State<LocalPartner>,
    headers: HeaderMap,
    Json(mut errand): Json<Errand>,
) -> Result<Response, StatusCode> {
    if partner.0.down.load(Ordering::Acquire) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    if !partner.is_known_by(&headers) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let key = headers.get(IDEMPOTENCY_HEADER).and_then(|key| key.to_str().ok());
    errand.id = key
        .and_then(|key| key.parse().ok())
        .ok_or(StatusCode::BAD_REQUEST)?;
    let Plan { verdict, manner } = (partner.0.decide)(&errand);
    let (told, tries) = (Told::from(verdict), partner.tries(errand.id));
    let answer = |told: Told| Ok((StatusCode::OK, Json(told)).into_response());
    match manner {
        Manner::Lost if tries == 1 => std::future::pending().await,
        Manner::Broken if tries == 1 => Err(StatusCode::INTERNAL_SERVER_ERROR),
        Manner::Prompt | Manner::Lost | Manner::Broken => answer(partner.done(&errand, &told)?.0),
        Manner::Silent => {
            partner.done(&errand, &told)?;
            std::future::pending().await
        }
        Manner::Twice => {
            let (told, _) = partner.done(&errand, &told)?;
            for _ in 0..2 {
                partner.announce(webhook(&errand, told.clone()));
            }
            answer(told)
        }
        Manner::Late(after) => {
            let pending = Told {
                status: Status::Pending,
                data: Value::Null,
                reason: None,
            };
            let (known, is_new) = partner.done(&errand, &pending)?;
            if is_new {
                tokio::spawn(partner.decide_late(errand, told, after));
            }
            answer(known)
        }
    }
}

/// `GET /v1/operations/{id}`
async fn tell(
    State(partner): State<LocalPartner>,
    headers: HeaderMap,
    Path(id): Path<Uuid>,
) -> Result<Json<Told>, StatusCode> {
    if partner.0.down.load(Ordering::Acquire) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    if !partner.is_known_by(&headers) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let operations = lock(&partner.0.operations);
    let known = operations.get(&id).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(known.told.clone()))
}
