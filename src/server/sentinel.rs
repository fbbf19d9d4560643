//! Asking sentinels where the primary is that they watch over.
//!
//! *Guarantees:* all are asked at once and none is waited for long; the newest configuration that any of
//! them knows counts, as among themselves; who answers nothing of use is named, with the reason.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use redis::cmd;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{
    Address, Broken, ConnectError, Connection, Endpoint, Nodes, Place, Secret, Setup, words,
};
use crate::protocol::resp::{Reply, Request};

/// How long a sentinel may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often they are asked though none tells of a change.
const LOOK: Duration = Duration::from_secs(10);

/// The sentinels of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// Where some of them are.
    pub(super) seeds: Vec<Address>,
    /// What they call the primary.
    pub name: String,
    /// What logs in to them.
    pub password: Option<Secret>,
}

impl fmt::Display for Sentinels {
    /// The same however the sentinels are ordered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seeds: Vec<String> = self.seeds.iter().map(Address::to_string).collect();
        seeds.sort_unstable();
        write!(f, "{} of the sentinels {}", self.name, seeds.join(","))
    }
}

/// What they say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) address: Address,
    /// Grows with each failover.
    pub(super) epoch: u64,
    /// Whether more than half of the seeds say so.
    pub(super) by_most: bool,
}

/// What one of them says.
#[derive(Clone, Debug)]
pub struct Said {
    /// Which one.
    pub sentinel: Address,
    /// What it knows, or why it does not tell.
    pub answer: Result<Watched, String>,
}

/// What a sentinel knows of the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Where it is, as announced.
    pub primary: Address,
    pub(crate) epoch: u64,
    /// Where its replicas are, as announced.
    pub replicas: Vec<Address>,
    /// What the sentinel says of the number of sentinels that it reaches, if that is too few.
    pub quorum: Result<(), String>,
}

impl Sentinels {
    /// `h1:p1,h2:p2/name`
    pub(super) fn new(seeds: Vec<Address>, name: String) -> Self {
        Self { seeds, name, password: None }
    }

    /// Asks all of them; where none tells, why each of them does not.
    pub(super) async fn ask(&self, deployment: &Endpoint) -> Result<Heard, String> {
        self.weigh(&self.each(deployment, false).await, |address| deployment.nat.reach(address))
    }

    /// What each of them says, more of it than is needed to get there.
    pub(super) async fn ask_each(&self, deployment: &Endpoint) -> Vec<Said> {
        self.each(deployment, true).await
    }

    async fn each(&self, deployment: &Endpoint, at_length: bool) -> Vec<Said> {
        let mut asked = JoinSet::new();
        for seed in &self.seeds {
            let (endpoint, name) = (self.endpoint(deployment, seed), self.name.clone());
            let sentinel = seed.clone();
            asked.spawn(async move {
                let answer = timeout(PATIENCE, ask_one(&endpoint, &name, at_length)).await;
                let late = |_| Err(format!("no answer for {} s", PATIENCE.as_secs()));
                Said { sentinel, answer: answer.unwrap_or_else(late) }
            });
        }
        asked.join_all().await
    }

    fn weigh(&self, said: &[Said], reach: impl Fn(&Address) -> Address) -> Result<Heard, String> {
        let told = || said.iter().filter_map(|said| said.answer.as_ref().ok());
        let Some(newest) = told().max_by_key(|watched| watched.epoch) else {
            let why = |said: &Said| {
                let reason = said.answer.as_ref().err().map_or("", String::as_str);
                format!("{}: {reason}", said.sentinel)
            };
            return Err(said.iter().map(why).collect::<Vec<_>>().join("; "));
        };
        let agree = told().filter(|watched| watched.primary == newest.primary).count();
        Ok(Heard {
            address: reach(&newest.primary),
            epoch: newest.epoch,
            by_most: agree * 2 > self.seeds.len(),
        })
    }

    /// One of them, as a server.
    fn endpoint(&self, deployment: &Endpoint, seed: &Address) -> Endpoint {
        let place = Place::Server(seed.clone());
        Endpoint {
            nodes: Nodes::new(&place),
            place,
            user: None,
            password: self.password.clone(),
            db: None,
            ..deployment.clone()
        }
    }

    /// Hears when a primary is replaced.
    pub(super) async fn subscribe(
        &self,
        deployment: &Endpoint,
        seed: &Address,
    ) -> Result<News, ()> {
        let endpoint = self.endpoint(deployment, seed);
        let mut connection =
            timeout(PATIENCE, open(&endpoint)).await.map_err(drop)?.map_err(drop)?;
        connection.queue(&Request::new(["SUBSCRIBE", "+switch-master"]));
        let mut news = News { connection, name: self.name.clone() };
        timeout(PATIENCE, news.connection.answer()).await.map_err(drop)?.map_err(drop)?;
        Ok(news)
    }
}

/// What a sentinel tells unasked.
pub(super) struct News {
    connection: Connection,
    name: String,
}

impl News {
    /// Waits until the primary is another one, or for some time.
    pub(super) async fn next(&mut self) -> Result<(), Broken> {
        let told = async {
            loop {
                let reply = self.connection.answer().await?;
                if is_about(&reply, &self.name) {
                    return Ok(());
                }
            }
        };
        timeout(LOOK, told).await.unwrap_or(Ok(()))
    }
}

/// `message`, the channel, `name old-host old-port new-host new-port`.
fn is_about(reply: &Reply, name: &str) -> bool {
    let text = reply.items().and_then(|items| items.get(2)).and_then(Reply::text);
    text.is_some_and(|text| text.split(|byte| *byte == b' ').next() == Some(name.as_bytes()))
}

/// A sentinel is there or not: nobody is asked where.
async fn open(endpoint: &Endpoint) -> Result<Connection, ConnectError> {
    let setup = Setup::own(endpoint, 0, "crossfade-sentinel");
    let node = endpoint.whatever_is_known()?;
    Ok(endpoint.connect_to(&node, &setup).await?.into())
}

async fn ask_one(endpoint: &Endpoint, name: &str, at_length: bool) -> Result<Watched, String> {
    let connection = open(endpoint).await.map_err(|error| error.reason().to_owned())?;
    Asking { connection, name }.watched(at_length).await
}

struct Asking<'a> {
    connection: Connection,
    name: &'a str,
}

impl Asking<'_> {
    async fn watched(&mut self, at_length: bool) -> Result<Watched, String> {
        let place: Option<(String, u16)> = self.ask("GET-MASTER-ADDR-BY-NAME").await?;
        let Some((host, port)) = place else { return Err(self.others().await) };
        let master: HashMap<String, String> = self.ask("MASTER").await.unwrap_or_default();
        let epoch = master.get("config-epoch").and_then(|epoch| epoch.parse().ok());
        let mut watched = Watched {
            primary: Address::Tcp(host, port),
            epoch: epoch.unwrap_or(0),
            replicas: Vec::new(),
            quorum: Ok(()),
        };
        if at_length {
            watched.replicas = self.replicas().await.unwrap_or_default();
            watched.quorum = self.ask::<String>("CKQUORUM").await.map(drop);
        }
        Ok(watched)
    }

    async fn replicas(&mut self) -> Result<Vec<Address>, String> {
        let replicas: Vec<HashMap<String, String>> = self.ask("REPLICAS").await?;
        let address = |fields: &HashMap<String, String>| {
            Some(Address::Tcp(fields.get("ip")?.clone(), fields.get("port")?.parse().ok()?))
        };
        Ok(replicas.iter().filter_map(address).collect())
    }

    /// Why there is nothing to be told of the name.
    async fn others(&mut self) -> String {
        let question = cmd("SENTINEL").arg("MASTERS").to_owned();
        let masters = self.connection.query(&question).await;
        let masters: Vec<HashMap<String, String>> =
            masters.ok().and_then(Result::ok).unwrap_or_default();
        let names: Vec<&str> =
            masters.iter().filter_map(|master| master.get("name")).map(String::as_str).collect();
        match names.as_slice() {
            [] => format!("it knows no primary '{}', and no other", self.name),
            names => format!("it knows no primary '{}', but: {}", self.name, names.join(", ")),
        }
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, question: &str) -> Result<T, String> {
        let question = cmd("SENTINEL").arg(question).arg(self.name).to_owned();
        let answer = self.connection.query(&question).await.map_err(|error| error.to_string())?;
        answer.map_err(|error| words(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn said(sentinel: &str, answer: Result<(&str, u64), &str>) -> Said {
        let watched = |(primary, epoch): (&str, u64)| Watched {
            primary: address(primary),
            epoch,
            replicas: Vec::new(),
            quorum: Ok(()),
        };
        Said { sentinel: address(sentinel), answer: answer.map(watched).map_err(str::to_owned) }
    }

    fn heard(said: &[Said]) -> Result<Heard, String> {
        let seeds = ["s:1", "s:2", "s:3"].map(address).to_vec();
        Sentinels::new(seeds, "m".to_owned()).weigh(said, Address::clone)
    }

    #[test]
    fn the_newest_configuration_counts_though_others_have_not_heard_of_it() {
        let old = |sentinel| said(sentinel, Ok(("a:1", 4)));
        let new = said("s:2", Ok(("b:1", 5)));
        let told = heard(&[old("s:1"), new, old("s:3")]).unwrap();
        assert_eq!(told, Heard { address: address("b:1"), epoch: 5, by_most: false });
        let told = heard(&[old("s:1"), old("s:3")]).unwrap();
        assert!(told.by_most);
    }

    #[test]
    fn one_that_tells_is_enough_and_else_each_is_named_with_its_reason() {
        let dead = |sentinel| said(sentinel, Err("connection refused"));
        assert!(heard(&[dead("s:1"), said("s:2", Ok(("a:1", 0)))]).is_ok());
        let why = heard(&[dead("s:1"), said("s:2", Err("it knows no primary 'm', but: n"))]);
        assert_eq!(
            why.unwrap_err(),
            "s:1: connection refused; s:2: it knows no primary 'm', but: n"
        );
    }

    #[test]
    fn news_of_another_primary_is_not_for_us() {
        let message = |text: &'static str| {
            let parts = ["message", "+switch-master", text];
            Reply::Array(parts.into_iter().map(|part| Reply::Bulk(part.into())).collect())
        };
        assert!(is_about(&message("mine 1.1.1.1 1 2.2.2.2 2"), "mine"));
        assert!(!is_about(&message("mine2 1.1.1.1 1 2.2.2.2 2"), "mine"));
    }
}
