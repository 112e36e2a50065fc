//! What the tests of notifications have in common: a cluster with the service in both regions, sockets, a user service that knows who is asked for.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]
#![allow(dead_code, reason = "no test uses all of it")]

use anyhow::{Context as _, Result};
use futures_util::{SinkExt, StreamExt};
use ringway_sdk::events::Ladder;
use ringway_sdk::service::{Environment, Server, ServerSettings, Service, Stop};
use ringway_sdk::web::Role;
use ringway_sdk::{Context, Database};
use serde_json::Value;
use shop_contracts::rpc::v1::notification_client::NotificationClient;
use shop_contracts::rpc::v1::user_server::{User, UserServer};
use shop_contracts::rpc::v1::{GetUserRequest, Operation, Priority, SendRequest, UserInfo};
use shop_notification::{Channel, HttpProvider, Ladders, LocalProvider, Provider, Settings};
use shop_testing::{BOUND, Backing, Region, Scene};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Who has which e-mail address and number.
#[derive(Clone, Default)]
pub(crate) struct Users(Arc<Mutex<HashMap<Uuid, (String, String)>>>);

impl Users {
    pub(crate) fn know(&self, user_id: Uuid, email: &str, phone: &str) {
        self.0
            .lock()
            .unwrap()
            .insert(user_id, (email.to_owned(), phone.to_owned()));
    }
}

#[tonic::async_trait]
impl User for Users {
    async fn get(&self, request: Request<GetUserRequest>) -> Result<Response<UserInfo>, Status> {
        let user_id = request.into_inner().user_id;
        let known = self.0.lock().unwrap().get(&user_id.parse().unwrap()).cloned();
        let (email, phone) = known.ok_or_else(|| Status::not_found("no such user"))?;
        Ok(Response::new(UserInfo {
            user_id,
            email,
            phone,
            ..UserInfo::default()
        }))
    }
}

/// A scene, and what stands outside.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    pub(crate) users: Users,
    pub(crate) provider: LocalProvider,
}

/// Ladders that a test can climb.
fn ladders() -> Ladders {
    let ladder = || Ladder::new(vec![Duration::from_millis(300), Duration::from_millis(600)]);
    Ladders {
        low: ladder(),
        normal: ladder(),
        high: ladder(),
        critical: ladder(),
    }
}

fn settings(address: &str, provider: &str) -> Settings {
    let http: Arc<dyn Provider> = Arc::new(HttpProvider::new(provider, "a key"));
    Settings {
        providers: Channel::ALL
            .into_iter()
            .map(|channel| (channel, Arc::clone(&http)))
            .collect(),
        ladders: ladders(),
        release: Duration::from_millis(200),
        expiry: Duration::from_secs(1),
        drain: Duration::from_secs(2),
        ..Settings::new(address)
    }
}

impl Stage {
    pub(crate) async fn set(backing: Backing) -> Result<Self> {
        let (users, provider) = (Users::default(), LocalProvider::start().await?);
        let scene = Scene::start(backing, |environment| {
            let address = environment.peers["notification"].clone();
            Ok(vec![
                shop_notification::service(environment, settings(&address, &provider.url()))?,
                Service::new("user", environment).grpc(UserServer::new(users.clone())),
            ])
        });
        Ok(Self {
            scene: Box::pin(scene).await?,
            users,
            provider,
        })
    }

    /// Sends something, and gives its id.
    pub(crate) async fn send(
        &self,
        region: Region,
        user_id: Uuid,
        priority: Priority,
        title: &str,
    ) -> Result<Uuid> {
        let key = Uuid::now_v7().to_string();
        self.send_once(region, user_id, priority, title, &key).await
    }

    pub(crate) async fn send_once(
        &self,
        region: Region,
        user_id: Uuid,
        priority: Priority,
        title: &str,
        key: &str,
    ) -> Result<Uuid> {
        let peer = self.scene.peer(region, "notification")?;
        let context = Context::background().with_timeout(BOUND);
        let request = SendRequest {
            operation: Some(Operation {
                key: key.to_owned(),
                user_id: user_id.to_string(),
                order_id: String::new(),
            }),
            priority: priority.into(),
            category: "test".to_owned(),
            title: title.to_owned(),
            body: "a text".to_owned(),
            data: HashMap::from([("key".to_owned(), "value".to_owned())]),
        };
        let reply = NotificationClient::new(peer.call(&context)).send(request).await?;
        Ok(reply.into_inner().notification_id.parse()?)
    }

    /// A connection of a user.
    pub(crate) async fn connect(&self, region: Region, user_id: Uuid, after: Option<&str>) -> Result<Socket> {
        let bearer = self.scene.bearer(user_id, Role::Customer)?;
        Socket::connect(
            &self.scene.url(region),
            &format!("?{}", after.map(|c| format!("after={c}")).unwrap_or_default()),
            Some(&bearer),
        )
        .await
    }

    /// Another instance in a region, on a runtime of its own, that can be killed.
    pub(crate) async fn instance(&self, region: Region, name: &str) -> Result<Instance> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let environment = self.scene.environment(region);
        let ringway = match region {
            Region::UsEast => &self.scene.ringways.us_east,
            Region::UsWest => &self.scene.ringways.us_west,
        };
        let database = ringway.url("shop", "shop");
        let (environment, name, provider) = (environment.clone(), name.to_owned(), self.provider.url());
        let starting = runtime.spawn(async move {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let url = format!("http://{}", listener.local_addr()?);
            let environment = Environment {
                instance: name,
                database: Database::new(&database, ringway_sdk::Settings::default())?,
                draining: Stop::new(),
                ..environment
            };
            let services = vec![shop_notification::service(
                &environment,
                settings(&url, &provider),
            )?];
            let server = ServerSettings {
                unready: Duration::ZERO,
                drain: Duration::from_secs(5),
                tasks: Duration::from_secs(10),
                ..ServerSettings::default()
            };
            let server = Server::start(listener, &environment, services, server)?;
            Ok::<_, anyhow::Error>((server, url))
        });
        let (server, url) = starting.await??;
        Ok(Instance {
            runtime: Some(runtime),
            server: Some(server),
            url,
        })
    }
}

/// An instance that can be killed.
pub(crate) struct Instance {
    runtime: Option<tokio::runtime::Runtime>,
    server: Option<Server>,
    pub(crate) url: String,
}

impl Instance {
    /// Ends everything of it at once.
    pub(crate) fn kill(&mut self) {
        self.server = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Ends it in order.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        self.kill();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A WebSocket of a user.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    pub(crate) headers: http::HeaderMap,
    /// Behind what it has.
    pub(crate) cursor: String,
}

impl Socket {
    pub(crate) async fn connect(base: &str, query: &str, bearer: Option<&str>) -> Result<Self> {
        let address = base.strip_prefix("http://").context("not http")?;
        let mut request =
            format!("ws://{address}/api/v1/notifications/socket{query}").into_client_request()?;
        if let Some(bearer) = bearer {
            request
                .headers_mut()
                .insert("authorization", format!("Bearer {bearer}").parse()?);
        }
        let stream = TcpStream::connect(address).await?;
        let (stream, answer) = tokio_tungstenite::client_async(request, stream).await?;
        let headers = answer.headers().clone();
        let mut socket = Self {
            stream,
            headers,
            cursor: String::new(),
        };
        let hello = socket.next().await?;
        anyhow::ensure!(hello["hello"] == true, "{hello}");
        Ok(socket)
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        self.next_or_close().await?.context("the socket was closed")
    }

    /// The next frame; none when the other side closes.
    pub(crate) async fn next_or_close(&mut self) -> Result<Option<Value>> {
        loop {
            let message = tokio::time::timeout(BOUND, self.stream.next())
                .await
                .context("nothing comes")?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text)?;
                    if let Some(cursor) = frame["cursor"].as_str() {
                        self.cursor = cursor.to_owned();
                    }
                    return Ok(Some(frame));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    anyhow::ensure!(u16::from(frame.code) == 1012, "{frame}");
                    return Ok(None);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// The title of the next notification.
    pub(crate) async fn title(&mut self) -> Result<String> {
        let frame = self.next().await?;
        let title = frame["notification"]["title"].as_str();
        Ok(title.with_context(|| frame.to_string())?.to_owned())
    }

    /// Nothing comes for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(600), self.next())
            .await
            .is_err()
    }

    pub(crate) async fn say(&mut self, said: Value) -> Result<()> {
        Ok(self.stream.send(Message::text(said.to_string())).await?)
    }
}
