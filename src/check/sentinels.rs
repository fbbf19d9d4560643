//! What the sentinels of a deployment know, and what that means.

use std::collections::BTreeSet;

use super::finding::Finding;
use crate::server::{Address, Endpoint, Said, Watched};

/// What was asked about one side's sentinels.
#[derive(Debug, Default)]
pub(super) struct Sentinels {
    said: Vec<Said>,
    /// Replicas that can't be reached from here, and why.
    unreachable: Vec<(Address, String)>,
}

/// Asks the sentinels, if the side has any, and tries the way to each replica that they tell of.
pub(super) async fn gather(endpoint: &Endpoint) -> Sentinels {
    let said = endpoint.ask_sentinels().await;
    let mut unreachable = Vec::new();
    for replica in replicas(&said) {
        if let Err(reason) = endpoint.try_announced(replica).await {
            unreachable.push((replica.clone(), reason));
        }
    }
    Sentinels { said, unreachable }
}

fn told(said: &[Said]) -> impl Iterator<Item = &Watched> {
    said.iter().filter_map(|said| said.answer.as_ref().ok())
}

fn replicas(said: &[Said]) -> BTreeSet<&Address> {
    told(said).flat_map(|watched| &watched.replicas).collect()
}

/// What stands in the way of a failover that is followed.
pub(super) fn judge(side: &'static str, sentinels: &Sentinels) -> Vec<Finding> {
    let Sentinels { said, unreachable } = sentinels;
    if said.is_empty() {
        return Vec::new();
    }
    let warning = |text: String| Finding::warning(side, text);
    let silent = said.iter().filter_map(|said| Some((&said.sentinel, said.answer.as_ref().err()?)));
    let mut findings: Vec<Finding> = silent
        .map(|(sentinel, reason)| {
            warning(format!("the sentinel {sentinel} does not tell: {reason}"))
        })
        .collect();
    let primaries: BTreeSet<String> =
        told(said).map(|watched| watched.primary.to_string()).collect();
    if primaries.len() > 1 {
        let named = primaries.into_iter().collect::<Vec<_>>().join(", ");
        findings.push(warning(format!("its sentinels name different primaries ({named}): wait")));
    }
    if let Some(reason) = told(said).find_map(|watched| watched.quorum.as_ref().err()) {
        findings.push(warning(format!("its sentinels could not fail over: {reason}")));
    }
    let replicas = replicas(said);
    if replicas.is_empty() {
        let text = "its sentinels know no replica that could take over".to_owned();
        findings.push(warning(text));
    }
    findings.extend(unreachable.iter().map(|(replica, reason)| {
        warning(format!(
            "its replica is announced as {replica}, which can't be reached from here ({reason}): say \
             where it can be with --{side}-nat"
        ))
    }));
    if findings.is_empty() {
        let (sentinels, replicas) = (said.len(), replicas.len());
        let text =
            format!("{sentinels} sentinels agree, {replicas} of its servers could take over");
        findings.push(Finding::ok(side, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn said(primary: &str, replicas: &[&str]) -> Said {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let replicas = replicas.iter().map(|text| address(text)).collect();
        Said {
            sentinel: address("s:1"),
            answer: Ok(Watched { primary: address(primary), epoch: 1, replicas, quorum: Ok(()) }),
        }
    }

    fn texts(said: Vec<Said>, unreachable: Vec<(Address, String)>) -> Vec<String> {
        let found = judge("source", &Sentinels { said, unreachable });
        assert!(found.iter().all(|finding| finding.level < Level::Blocker));
        found.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn sentinels_that_agree_and_know_a_replica_are_as_they_should_be() {
        let found = texts(vec![said("a:1", &["b:1"]), said("a:1", &["b:1"])], Vec::new());
        assert_eq!(found, ["2 sentinels agree, 1 of its servers could take over"]);
        assert!(texts(Vec::new(), Vec::new()).is_empty(), "a server without sentinels");
    }

    #[test]
    fn whatever_keeps_a_failover_from_being_followed_is_told() {
        let dead = Said { sentinel: "s:2".parse().unwrap(), answer: Err("refused".to_owned()) };
        let mut split = said("b:1", &[]);
        if let Ok(watched) = &mut split.answer {
            watched.quorum = Err("NOQUORUM 1 usable Sentinels".to_owned());
        }
        let gone = vec![("b:1".parse().unwrap(), "timed out".to_owned())];
        let found = texts(vec![dead, said("a:1", &[]), split], gone).join("\n");
        for one in
            ["s:2 does not tell: refused", "(a:1, b:1)", "NOQUORUM", "no replica", "--source-nat"]
        {
            assert!(found.contains(one), "{one}: {found}");
        }
    }
}
