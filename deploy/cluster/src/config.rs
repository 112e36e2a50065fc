//! The configuration files of the local cluster's Ringways.

use std::fmt::Write;

use crate::cluster::{CONTROL_ROLE, SHOP};
use crate::shop::Table;
use crate::{Cluster, Region};

/// The configuration of the Ringway in this region. `config/ringway.toml` explains each key.
pub(crate) fn ringway(cluster: &Cluster, region: Region) -> String {
    let mut text = bare(cluster, region);
    tables(&mut text);
    text
}

/// The same without any table.
pub(crate) fn bare(cluster: &Cluster, region: Region) -> String {
    let (port, http_port) = cluster.ringway_ports(region);
    let secrets = cluster.secrets();
    let mut text = format!(
        r#"# Made by `ringway demo` for a local cluster: not for production. config/ringway.toml explains each key.
region = "{region}"
proxy_id = "{region}"

[listen]
port = {port}
http_port = {http_port}

[auth]
admin_users = ["{CONTROL_ROLE}"]
stats_users = ["{SHOP}"]

[control_user]
name = "{CONTROL_ROLE}"
password = "{control}"

[[user]]
name = "{SHOP}"
password = "{shop}"

[[user]]
name = "{CONTROL_ROLE}"
password = "{control}"

[[database]]
name = "{SHOP}"
default_shard = "shard-0"
"#,
        region = region.name(),
        control = secrets.control,
        shop = secrets.shop,
    );
    shards(cluster, &mut text);
    backing(cluster, region, &mut text);
    text
}

// Writing to a String can't fail, hence the ignored results below.

fn shards(cluster: &Cluster, text: &mut String) {
    for (number, shard) in cluster.shards().iter().enumerate() {
        let _ = write!(text, "\n[[shard]]\nname = \"shard-{number}\"\n");
        for (region, server) in [(Region::UsEast, &shard.primary), (Region::UsWest, &shard.standby)] {
            let _ = write!(
                text,
                "\n[[shard.endpoint]]\nregion = \"{}\"\nhost = \"127.0.0.1\"\nport = {}\n",
                region.name(),
                server.port(),
            );
        }
    }
}

fn tables(text: &mut String) {
    for table in Table::ALL {
        let _ = write!(text, "\n[[table]]\nname = \"{}\"\n", table.name());
        let _ = match table.shard_column() {
            Some(column) => writeln!(text, "sharding = \"hash\"\ncolumn = \"{column}\""),
            None => writeln!(text, "sharding = \"reference\""),
        };
        if matches!(
            table,
            Table::Users | Table::Orders | Table::Products | Table::Inventory
        ) {
            let _ = writeln!(
                text,
                "cache = {{ level = \"ryw\", bound = \"2s\", ttl = \"5m\" }}"
            );
        }
    }
}

fn backing(cluster: &Cluster, region: Region, text: &mut String) {
    if let Some(redis) = cluster.redis(region) {
        let key = &cluster.secrets().cache_key;
        let _ = write!(
            text,
            "\n[cache]\nredis_url = \"{}/0\"\nkey_secret = \"{key}\"\n",
            redis.url()
        );
    }
    if let Some(kafka) = cluster.kafka() {
        let _ = write!(
            text,
            "\n[stream]\nkafka_bootstrap = [\"{}\"]\n",
            kafka.bootstrap()
        );
    }
}
