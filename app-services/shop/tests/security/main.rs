//! Nobody gets at what isn't theirs: the whole shop in this process, in two regions, and people who try.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod attacks;
mod calls;
mod documents;
mod fuzz;
mod operations;
mod person;
mod room;
mod swap;

use room::Room;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_another_users_data() -> anyhow::Result<()> {
    let room = Box::pin(Room::start()).await?;
    swap::the_table_is_whole(&room);
    documents::are_one(&room).await?;
    swap::every_id_swapped(&room).await?;
    calls::only_services_call_services(&room).await?;
    attacks::forged_tokens(&room).await?;
    attacks::webhooks_are_signed(&room).await?;
    attacks::too_much_is_refused(&room).await?;
    attacks::crooked_paths(&room).await?;
    attacks::nothing_is_smuggled_through(&room).await?;
    attacks::addresses_are_those_of_connections(&room).await?;
    room.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_made_up_requests_are_as_documented() -> anyhow::Result<()> {
    let room = Box::pin(Room::start()).await?;
    fuzz::answers_are_as_documented(&room).await?;
    room.end().await;
    Ok(())
}
