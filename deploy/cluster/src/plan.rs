//! Regions, ports and secrets of a local cluster.

use crate::ports::check_free;
use crate::{Documents, Error, MongoDb, PortLock, reserve_port};

/// A region of the local cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Region {
    /// Where the primaries are.
    UsEast,
    /// Where the standbys are.
    UsWest,
}

impl Region {
    /// Both regions, the primaries' first.
    pub const ALL: [Self; 2] = [Self::UsEast, Self::UsWest];

    /// The region's name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsEast => "us-east",
            Self::UsWest => "us-west",
        }
    }
}

/// One thing for each region.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerRegion<T> {
    /// That of [`Region::UsEast`].
    pub us_east: T,
    /// That of [`Region::UsWest`].
    pub us_west: T,
}

impl<T> PerRegion<T> {
    /// That of this region.
    pub fn of(&self, region: Region) -> &T {
        match region {
            Region::UsEast => &self.us_east,
            Region::UsWest => &self.us_west,
        }
    }
}

/// The two ports of a Ringway.
#[derive(Debug)]
pub(crate) struct RingwayPorts {
    pub(crate) postgres: PortLock,
    pub(crate) http: PortLock,
}

/// Which port on 127.0.0.1 each server of a cluster gets.
#[derive(Debug)]
pub struct PortPlan {
    pub(crate) shards: Vec<PerRegion<PortLock>>,
    pub(crate) redis: PerRegion<PortLock>,
    pub(crate) kafka: PortLock,
    pub(crate) kafka_controller: PortLock,
    pub(crate) mongodb: PortLock,
    pub(crate) ringway: PerRegion<RingwayPorts>,
}

impl PortPlan {
    /// The ports that the demo documents: Ringway 6432 and 6433 (HTTP 8432 and 8433), shard n's
    /// primary 5500 + 2n and standby 5501 + 2n, Redis 6479 and 6480, Kafka 9192 (controller 9193),
    /// the MongoDB-protocol server 27117.
    pub fn documented(shards: u16) -> Self {
        const FIRST_SHARD: u16 = 5500;
        let fixed = PortLock::fixed;
        let shard = |n| PerRegion {
            us_east: fixed(FIRST_SHARD + 2 * n),
            us_west: fixed(FIRST_SHARD + 1 + 2 * n),
        };
        Self {
            shards: (0..shards).map(shard).collect(),
            redis: PerRegion {
                us_east: fixed(6479),
                us_west: fixed(6480),
            },
            kafka: fixed(9192),
            kafka_controller: fixed(9193),
            mongodb: fixed(27117),
            ringway: PerRegion {
                us_east: RingwayPorts {
                    postgres: fixed(6432),
                    http: fixed(8432),
                },
                us_west: RingwayPorts {
                    postgres: fixed(6433),
                    http: fixed(8433),
                },
            },
        }
    }

    /// Free ports, kept until the plan is dropped.
    pub fn free(shards: u16) -> Result<Self, Error> {
        let pair = || {
            Ok(PerRegion {
                us_east: reserve_port()?,
                us_west: reserve_port()?,
            })
        };
        let ringway = || {
            Ok::<_, Error>(RingwayPorts {
                postgres: reserve_port()?,
                http: reserve_port()?,
            })
        };
        Ok(Self {
            shards: (0..shards).map(|_| pair()).collect::<Result<_, Error>>()?,
            redis: pair()?,
            kafka: reserve_port()?,
            kafka_controller: reserve_port()?,
            mongodb: reserve_port()?,
            ringway: PerRegion {
                us_east: ringway()?,
                us_west: ringway()?,
            },
        })
    }

    /// Refuses the plan if one of the ports that these backing services need is taken.
    pub(crate) fn check_free(&self, backing: Backing, documents: Documents) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for region in Region::ALL {
            let ringway = self.ringway.of(region);
            wanted.push((ringway.postgres.port(), format!("Ringway in {}", region.name())));
            wanted.push((
                ringway.http.port(),
                format!("Ringway's HTTP in {}", region.name()),
            ));
            for (number, shard) in self.shards.iter().enumerate() {
                wanted.push((
                    shard.of(region).port(),
                    format!("PostgreSQL shard-{number} in {}", region.name()),
                ));
            }
            if backing == Backing::Full {
                wanted.push((
                    self.redis.of(region).port(),
                    format!("Redis in {}", region.name()),
                ));
            }
        }
        if backing == Backing::Full {
            wanted.push((self.kafka.port(), "Kafka".to_owned()));
            wanted.push((self.kafka_controller.port(), "Kafka's controller".to_owned()));
        }
        if documents == Documents::On && MongoDb::elsewhere().is_none() {
            wanted.push((self.mongodb.port(), "the MongoDB-protocol server".to_owned()));
        }
        check_free(wanted.iter().map(|(port, name)| (*port, name.as_str())))
    }
}

/// What stands beside PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Nothing: the event stream and the shared store run in Ringway's process.
    Embedded,
    /// A Redis in each region and a Kafka broker.
    Full,
}

/// The passwords of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The superuser `postgres`.
    pub superuser: String,
    /// The role `ringway`, which Ringway itself uses.
    pub control: String,
    /// The role that standbys stream as.
    pub replication: String,
    /// The role `shop`, which applications use.
    pub shop: String,
    /// The key of the cache keys' hash, the same in all proxies.
    pub cache_key: String,
}

impl Secrets {
    /// Secrets that are random wherever they give more rights than the shop's data: other users of
    /// the machine can reach the ports.
    pub fn random() -> Self {
        Self {
            superuser: random_word(),
            control: random_word(),
            replication: random_word(),
            shop: "shop".to_owned(),
            cache_key: random_word(),
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// 24 letters and digits: 120 random bits, nothing to quote anywhere.
pub(crate) fn random_word() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    (0..24)
        .filter_map(|_| LETTERS.get(rand::random_range(0..LETTERS.len())))
        .map(|letter| char::from(*letter))
        .collect()
}
