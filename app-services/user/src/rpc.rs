//! What other services may know of a user.

use crate::profile::{Profile, SHOW, profile};
use crate::{Refusal, Users};
use ringway_sdk::Level;
use ringway_sdk::rpc::{Request, Response, Status, open};
use shop_contracts::rpc::id;
use shop_contracts::rpc::v1::user_server::User;
use shop_contracts::rpc::v1::{GetUserRequest, UserInfo};

pub(crate) struct Calls(pub(crate) Users);

#[tonic::async_trait]
impl User for Calls {
    async fn get(&self, request: Request<GetUserRequest>) -> Result<Response<UserInfo>, Status> {
        let (context, asked) = open(request)?;
        let user_id = id(&asked.user_id, "user_id")?;
        let row = self
            .0
            .0
            .database
            .row(&context, Level::Ryw, SHOW, &[&user_id])
            .await?;
        let Profile {
            email,
            person,
            home_region,
            registered_at,
            ..
        } = row.and_then(|row| profile(&row)).ok_or(Refusal::NoUser)?;
        let registered_at_ms = registered_at.unix_timestamp_nanos() / 1_000_000;
        Ok(Response::new(UserInfo {
            user_id: asked.user_id,
            email,
            name: person.name,
            country: person.country,
            locale: person.locale,
            time_zone: person.time_zone,
            phone: person.phone,
            home_region,
            registered_at_ms: i64::try_from(registered_at_ms).unwrap_or_default(),
        }))
    }
}
