//! Pools under load, as clients and the admin database see them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use tests::get;

use crate::console::{SOON, stage};

/// 2,000 clients that all want one of 20 connections of one server: everybody is served, and nobody waits for much longer than the
/// others.
#[test]
fn two_thousand_active_clients_share_twenty_connections() -> Result<()> {
    const CLIENTS: usize = 2_000;
    const CONNECTIONS: usize = 20;
    const TURNS: usize = 3;
    /// Logins under way at a time: each costs the key derivation of SCRAM on both sides.
    const AT_A_TIME: usize = 50;
    let stage = stage()?;
    stage.within(SOON * 12, async {
        let mut clients = Vec::with_capacity(CLIENTS);
        while clients.len() < CLIENTS {
            clients.extend(try_join_all((0..AT_A_TIME).map(|_| stage.client())).await?);
        }
        let began = Instant::now();
        let work = clients.iter().map(async |client| {
            let mut longest = Duration::ZERO;
            for _ in 0..TURNS {
                let asked = Instant::now();
                client
                    .simple_query("SELECT pg_sleep(0.002) FROM users WHERE user_id = 1")
                    .await?;
                longest = longest.max(asked.elapsed());
            }
            anyhow::Ok(longest)
        });
        let watched = async {
            let mut most = 0;
            let mut waited = false;
            while began.elapsed() < Duration::from_millis(500) {
                for pool in stage.console().show("SERVER_POOLS")? {
                    let number = |name: &str| get(&pool, name).and_then(|text| text.parse::<usize>().ok());
                    most = most.max(number("sv_active").unwrap_or(0));
                    waited |= number("cl_waiting").is_some_and(|waiting| waiting > CONNECTIONS);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok((most, waited))
        };
        let (waits, (most, waited)) = tokio::try_join!(try_join_all(work), watched)?;
        let all = began.elapsed();
        let longest = waits.iter().max().copied().unwrap_or_default();
        println!("{CLIENTS} clients, {CONNECTIONS} connections, {TURNS} turns each: {all:?}, longest wait {longest:?}");
        ensure!(most <= CONNECTIONS, "{most} connections were lent");
        ensure!(waited, "nobody had to wait");
        // One turn of everybody is a third of the time; twice that is the bound for one wait.
        ensure!(longest <= all * 2 / 3, "{longest:?} of {all:?}");
        Ok(())
    })
}
