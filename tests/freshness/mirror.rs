//! Changes that Ringway never sees as statements on the cached table: triggers, cascades, functions, COPY, MERGE, TRUNCATE,
//! all straight to a shard's primary.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::history::Found;
use crate::link::{Link, Trouble};
use crate::traffic::{Traffic, id, paced};

/// Between two steps of one writer: long enough that rows are read more than once between two steps.
const STEP_PACE: Duration = Duration::from_millis(120);
/// After an error.
const ERROR_PACE: Duration = Duration::from_millis(50);
/// How long what an earlier connection left running may go on.
const LEFTOVER_BOUND: Duration = Duration::from_secs(20);

/// How the table is changed.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// UPDATE of another table, whose trigger writes this one.
    Trigger,
    /// TRUNCATE.
    Truncate,
    /// COPY FROM STDIN.
    Copy,
    /// A function that updates all rows.
    Function,
    /// MERGE.
    Merge,
    /// DELETE from the table that this one refers to.
    Cascade,
    /// INSERT into another table, whose trigger inserts here.
    TriggerInsert,
}

/// In this order, over and over: COPY finds the table empty, the insert finds no row.
const STEPS: [Step; 7] = [
    Step::Trigger,
    Step::Truncate,
    Step::Copy,
    Step::Function,
    Step::Merge,
    Step::Cascade,
    Step::TriggerInsert,
];

/// Changes the rows of one shard until the end. This is the only writer of these rows.
pub(crate) async fn write(traffic: Arc<Traffic>, shard: usize) -> Result<()> {
    let name = format!("mirror-{shard}");
    let rows = traffic.scene.mirrored[shard].clone();
    let mut link = traffic.scene.bypass(shard)?.named(&name);
    let mut pace = paced(STEP_PACE);
    let mut version = 0;
    'rounds: while !traffic.is_stopped() {
        // Whatever the state is, after this the rows of both tables are there.
        let mut steps = vec![Step::TriggerInsert];
        steps.extend(STEPS);
        for step in steps {
            pace.tick().await;
            version += 1;
            if let Err(trouble) = take(&traffic, &mut link, &rows, step, version).await {
                if matches!(trouble, Trouble::Hang) {
                    traffic
                        .report
                        .fault(&format!("{name}: {step:?}: no answer in time"));
                }
                if let Trouble::Told { code, message } = &trouble
                    && !matches!(code.get(..2), Some("57" | "08" | "53"))
                {
                    anyhow::bail!("{name}: {step:?}: {code} {message}");
                }
                link.drop_connection();
                tokio::time::sleep(ERROR_PACE).await;
                quieten(&traffic, shard, &name).await?;
                continue 'rounds;
            }
            traffic.report.count("steps");
        }
    }
    Ok(())
}

/// Takes one step and keeps what was acknowledged.
async fn take(
    traffic: &Traffic,
    link: &mut Link,
    rows: &[usize],
    step: Step,
    version: i64,
) -> Result<(), Trouble> {
    link.ready().await?;
    let state: Found = match step {
        Step::Truncate | Step::Cascade => None,
        Step::Trigger | Step::Copy | Step::Function | Step::Merge | Step::TriggerInsert => Some(version),
    };
    let changes: Vec<(usize, Found)> = rows.iter().map(|row| (*row, state)).collect();
    traffic.stepped.begin(&changes);
    let values = |separator: &str| {
        let mut text = String::new();
        for row in rows {
            let gap = if text.is_empty() { "" } else { separator };
            // Writing to a String can't fail.
            let _ = write!(text, "{gap}({}, {version})", id(*row));
        }
        text
    };
    match step {
        Step::Trigger => link.run(&format!("UPDATE source SET ver = {version}")).await?,
        Step::Truncate => link.run("TRUNCATE mirror").await?,
        Step::Copy => {
            let lines = rows
                .iter()
                .map(|row| format!("{}\t{version}\n", id(*row)))
                .collect();
            link.copy("COPY mirror FROM STDIN", lines).await?;
        }
        Step::Function => link.run(&format!("SELECT rewrite({version})")).await?,
        Step::Merge => {
            let merge = format!(
                "MERGE INTO mirror USING (VALUES {}) AS new (id, ver) ON mirror.id = new.id \
                 WHEN MATCHED THEN UPDATE SET ver = new.ver \
                 WHEN NOT MATCHED THEN INSERT VALUES (new.id, new.ver)",
                values(", ")
            );
            link.run(&merge).await?;
        }
        Step::Cascade => link.run("DELETE FROM source").await?,
        Step::TriggerInsert => {
            let insert = format!(
                "INSERT INTO source VALUES {} ON CONFLICT (id) DO UPDATE SET ver = excluded.ver",
                values(", ")
            );
            link.run(&insert).await?;
        }
    }
    traffic.stepped.acknowledged(&changes);
    Ok(())
}

/// Ends what an earlier connection of this writer left running, so that nothing is done behind its back.
async fn quieten(traffic: &Traffic, shard: usize, name: &str) -> Result<()> {
    let primary = &traffic.scene.cluster.shards()[shard].primary;
    let ending = async {
        loop {
            if let Ok(client) = primary.connect(cluster::CONTROL_ROLE, cluster::SHOP).await {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
                if let Ok(0) = client
                    .query_one(sql, &[&name])
                    .await
                    .map(|row| row.get::<_, i64>(0))
                {
                    return;
                }
            }
            tokio::time::sleep(ERROR_PACE).await;
        }
    };
    tokio::time::timeout(LEFTOVER_BOUND, ending)
        .await
        .map_err(|_| anyhow::anyhow!("{name}: what an earlier connection began does not end"))
}
