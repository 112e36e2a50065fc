//! Every operation of every OpenAPI document, asked with another user's ids, by another user and by nobody.

use crate::operations::{Answers, COMMON, ENDINGS, Ids, OPERATIONS, Operation, QUERIES};
use crate::person::{KEY, Person, stocked};
use crate::room::Room;
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use ringway_sdk::web::IDEMPOTENCY_HEADER;
use serde_json::{Value, json};
use shop_testing::until;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;
use uuid::Uuid;

/// What of a stream is looked at.
const LISTEN: Duration = Duration::from_millis(400);

fn all() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().chain(&ENDINGS)
}

/// The operations of a document: method, path, and what is said of it.
fn documented(room: &Room) -> Vec<(String, String, &'static str, Value)> {
    let mut found = Vec::new();
    for (service, document) in &room.documents {
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, said) in item.as_object().into_iter().flatten() {
                if [
                    "get", "put", "post", "delete", "patch", "head", "options", "trace",
                ]
                .contains(&&**method)
                {
                    found.push((method.to_uppercase(), path.clone(), *service, said.clone()));
                }
            }
        }
    }
    found
}

fn said_of(room: &Room, operation: &Operation) -> Value {
    let mut all = documented(room).into_iter();
    let found = all.find(|(method, path, ..)| method == operation.method && path == operation.path);
    found.map(|(.., said)| said).unwrap_or_default()
}

/// The names of the uuids in a schema.
fn ids_of(document: &Value, schema: &Value, name: &str, into: &mut BTreeSet<String>) {
    if let Some(to) = schema["$ref"].as_str() {
        let target = document.pointer(to.trim_start_matches('#'));
        return ids_of(document, target.unwrap(), name, into);
    }
    if schema["format"] == "uuid" {
        into.insert(name.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        ids_of(document, property, name, into);
    }
    for part in ["allOf", "oneOf", "anyOf"] {
        for schema in schema[part].as_array().into_iter().flatten() {
            ids_of(document, schema, name, into);
        }
    }
    if schema["items"].is_object() {
        ids_of(document, &schema["items"], name, into);
    }
}

/// What is documented is in the table, and what is in the table is documented, as what it is; requests name every id that they can.
pub(crate) fn the_table_is_whole(room: &Room) {
    let known: BTreeSet<(&str, &str)> = all().map(|one| (one.method, one.path)).collect();
    assert_eq!(known.len(), all().count(), "something is there twice");
    let documented = documented(room);
    let there: BTreeSet<(&str, &str)> = documented
        .iter()
        .map(|(method, path, ..)| (&**method, &**path))
        .collect();
    let missing: Vec<_> = there.symmetric_difference(&known).collect();
    assert!(
        missing.is_empty(),
        "not both in the documents and in tests/security/operations.rs: {missing:?}"
    );
    let ids: Ids = filled(&BTreeMap::from([("cursor", String::new())]));
    let mut wrong = Vec::new();
    for operation in all() {
        let (.., service, said) = documented
            .iter()
            .find(|(method, path, ..)| method == operation.method && path == operation.path)
            .unwrap();
        let what = format!("{} {}", operation.method, operation.path);
        let is_open = said["security"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one == &json!({})));
        let meant = matches!(operation.answers, Answers::Anybody | Answers::Partner);
        let mut must = |holds: bool, why: &str| {
            if !holds {
                wrong.push(format!("{what}: {why}"));
            }
        };
        must(is_open == meant, "the document says otherwise who needs a token");
        let schema = &said["requestBody"]["content"]["application/json"]["schema"];
        must(schema.is_null() || operation.body.is_some(), "it has a body");
        let mut named = BTreeSet::new();
        ids_of(&room.documents[service], schema, "the body", &mut named);
        let body = operation
            .body
            .map(|body| body(&ids).to_string())
            .unwrap_or_default();
        for name in named {
            must(
                body.contains(&format!("\"{name}\":")),
                &format!("the body has no {name}"),
            );
        }
        let is_sent_there = shop_gateway::service_of(operation.path) == Some(*service);
        must(is_sent_there, "the gateway sends it elsewhere");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Ids with those that are nobody's, and made-up ones for what is missing.
fn filled(ids: &BTreeMap<&'static str, String>) -> Ids {
    let made_up = [
        "user_id",
        "address_id",
        "order_id",
        "notification_id",
        "product_id",
    ];
    let made_up = made_up.map(|name| (name, Uuid::now_v7().to_string()));
    let common = COMMON.map(|(name, text)| (name, text.to_owned()));
    let mut all: Ids = common.into_iter().chain(made_up).collect();
    all.extend(ids.clone());
    all
}

/// The path and query of an operation.
fn target(said: &Value, operation: &Operation, ids: &Ids) -> Result<String> {
    let (mut path, mut query) = (operation.path.to_owned(), Vec::new());
    for parameter in said["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let unknown = || {
            format!(
                "{} {}: nobody knows what {name} is",
                operation.method, operation.path
            )
        };
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), ids.get(name).with_context(unknown)?),
            Some("query") => {
                let is_uuid = parameter["schema"].to_string().contains("uuid");
                let long = if is_uuid && name == "after" {
                    "after (uuid)"
                } else {
                    name
                };
                let (_, id) = QUERIES
                    .iter()
                    .find(|(known, _)| *known == long)
                    .with_context(unknown)?;
                if let Some(id) = id {
                    query.push(format!("{name}={}", ids.get(id).with_context(unknown)?));
                }
            }
            Some("header") => ensure!(name == "Idempotency-Key", unknown()),
            _ => anyhow::bail!(unknown()),
        }
    }
    ensure!(!path.contains('{'), "{path}: has a part that is no parameter");
    Ok(if query.is_empty() {
        path
    } else {
        format!("{path}?{}", query.join("&"))
    })
}

/// An answer: its status, and all that can be read of it.
struct Heard {
    status: u16,
    text: String,
}

/// One for all: each costs tens of milliseconds to make.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);

/// Asks, and reads what comes; of a stream what comes soon.
async fn ask(
    base: &str,
    bearer: Option<&str>,
    method: &str,
    target: &str,
    body: Option<&Value>,
) -> Result<Heard> {
    let mut request = HTTP
        .request(Method::from_bytes(method.as_bytes())?, format!("{base}{target}"))
        .header(IDEMPOTENCY_HEADER, KEY);
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let mut response = request.send().await?;
    let mut text = format!("{:?}\n", response.headers());
    let status = response.status().as_u16();
    let read = async {
        while let Some(part) = response.chunk().await? {
            text.push_str(&String::from_utf8_lossy(&part));
        }
        Ok::<_, reqwest::Error>(())
    };
    // A stream has no end.
    if let Ok(read) = tokio::time::timeout(LISTEN, read).await {
        read?;
    }
    Ok(Heard { status, text })
}

/// Who asks for what isn't theirs.
struct Intruder<'a> {
    bearer: Option<&'a str>,
    base: &'a str,
    /// Who is to be left alone.
    victim: &'a Person,
    ids: &'a Ids,
}

impl Intruder<'_> {
    /// Asks for one thing, plainly and with the victim named beside.
    async fn tries(&self, room: &Room, operation: &Operation) -> Result<()> {
        let said = said_of(room, operation);
        let target = target(&said, operation, self.ids)?;
        let body = operation.body.map(|body| body(self.ids));
        let plain = self.asks(operation, &target, body.as_ref()).await?;
        let refused = match (operation.answers, self.bearer) {
            (Answers::Anybody, _) => plain.status != 401 || operation.path.contains("/sessions"),
            (Answers::Partner, _) | (_, None) => plain.status == 401,
            (Answers::Caller, Some(_)) => plain.status < 500,
            (Answers::Owner, Some(_)) => [403, 404].contains(&plain.status),
            (Answers::Staff, Some(_)) => plain.status == 403,
        };
        let what = format!("{} {target} of {:?}", operation.method, operation.answers);
        ensure!(refused, "{what}: {} {}", plain.status, plain.text);
        let victim = &self.victim.ids["user_id"];
        let joint = if target.contains('?') { '&' } else { '?' };
        let beside = format!("{target}{joint}user_id={victim}&sub={victim}");
        let body = body.map(|mut body| {
            if let Some(object) = body.as_object_mut() {
                object.insert("user_id".to_owned(), json!(victim));
            }
            body
        });
        self.asks(operation, &beside, body.as_ref()).await.map(drop)
    }

    /// Asks once; nothing of the victim's may come back but what was sent.
    async fn asks(&self, operation: &Operation, target: &str, body: Option<&Value>) -> Result<Heard> {
        let heard = ask(self.base, self.bearer, operation.method, target, body).await?;
        let what = format!(
            "{} {target} {body:?}: {} {}",
            operation.method, heard.status, heard.text
        );
        ensure!(heard.status < 500, "it fails: {what}");
        for mark in self.victim.marks() {
            ensure!(!heard.text.contains(mark), "it tells {mark}: {what}");
        }
        Ok(heard)
    }
}

/// All rows of a user at all primaries, as one text; without those that relays and purges take away.
async fn rows_of(room: &Room, user_id: &str) -> Result<String> {
    const TABLES: &str = "SELECT table_name FROM information_schema.columns WHERE column_name = 'user_id' AND table_schema = 'public' \
        ORDER BY 1";
    let mut all = String::new();
    for shard in room.scene.cluster.shards() {
        let client = shard.primary.connect(cluster::SHOP, cluster::SHOP).await?;
        let tables = client.query(TABLES, &[]).await?;
        ensure!(tables.len() > 10, "these can't be all tables");
        for table in &tables {
            let table: &str = table.get(0);
            // A name of the catalog's.
            let sql = format!(
                "SELECT string_agg(t::text, E'\n' ORDER BY t::text) FROM {table} t WHERE user_id = $1"
            );
            let rows = client.query_one(&sql, &[&user_id.parse::<Uuid>()?]).await?;
            if let Some(rows) = rows.get::<_, Option<&str>>(0) {
                all.push_str(&format!("{table}\n{rows}\n"));
            }
        }
    }
    Ok(all)
}

/// The rows of a user once nothing moves any more.
async fn settled(room: &Room, user_id: &str) -> Result<String> {
    let mut before = rows_of(room, user_id).await?;
    until("nothing moves any more", async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Ok(rows) = rows_of(room, user_id).await else {
            return false;
        };
        std::mem::replace(&mut before, rows.clone()) == rows
    })
    .await?;
    Ok(before)
}

/// Two users use everything; another's ids give nobody anything, and change nothing.
pub(crate) async fn every_id_swapped(room: &Room) -> Result<()> {
    let (staff, product_id) = stocked(room).await?;
    let mut people = Vec::new();
    for name in ["aurelia", "bartholomew", "cassiopeia"] {
        people.push(
            Person::register(room, name)
                .await?
                .use_everything(&product_id)
                .await?,
        );
    }
    let [victim, at_gateway, at_services] = &people[..] else {
        unreachable!()
    };
    let before = settled(room, &victim.ids["user_id"]).await?;
    ensure!(before.lines().count() > 12, "the victim has too little: {before}");
    let mut ids = filled(&victim.ids);
    ids.insert("product_id", product_id);
    let ([gateway, _], [_, services]) = (room.gateways(), room.services());
    for (base, bearer) in [
        (&gateway, None),
        (&services, None),
        (&gateway, Some(&at_gateway.bearer)),
        (&services, Some(&at_services.bearer)),
    ] {
        let bearer = bearer.map(String::as_str);
        let intruder = Intruder {
            bearer,
            base,
            victim,
            ids: &ids,
        };
        for operation in all() {
            intruder.tries(room, operation).await?;
        }
    }
    let after = settled(room, &victim.ids["user_id"]).await?;
    ensure!(
        before == after,
        "the victim's rows were\n{before}\nand are\n{after}"
    );
    its_owner_may(room, victim, &staff, &ids).await
}

/// The same requests by those whom they are for: each is carried out, so none was refused for being wrong.
async fn its_owner_may(room: &Room, owner: &Person, staff: &Person, ids: &Ids) -> Result<()> {
    let [gateway, _] = room.gateways();
    for operation in all() {
        let bearer = match operation.answers {
            Answers::Owner => &owner.bearer,
            Answers::Staff => &staff.bearer,
            Answers::Anybody | Answers::Caller | Answers::Partner => continue,
        };
        if operation.path.contains("/analytics/") && !room.has_read_models() {
            continue;
        }
        let target = target(&said_of(room, operation), operation, ids)?;
        let body = operation.body.map(|body| body(ids));
        let heard = ask(&gateway, Some(bearer), operation.method, &target, body.as_ref()).await?;
        let well = (200..300).contains(&heard.status);
        ensure!(
            well,
            "{} {target}: {} {}",
            operation.method,
            heard.status,
            heard.text
        );
    }
    Ok(())
}
