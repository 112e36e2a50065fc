//! Nobody gets at what isn't theirs: the whole shop in this process, in two regions, and people who try.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic is the failure")]

mod calls;
mod operations;
mod person;
mod room;
mod swap;

use room::Room;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_another_users_data() -> anyhow::Result<()> {
    let room = Box::pin(Room::start()).await?;
    swap::the_table_is_whole(&room);
    swap::every_id_swapped(&room).await?;
    calls::only_services_call_services(&room).await?;
    room.end().await;
    Ok(())
}
