//! Checks that are voted on: their definition for other agents, the votes, and their outcome.
//!
//! `store` counts, `leader` assigns observers, `local` probes and votes. The rule is [`outcome`].

use super::check::{CheckDefinition, CheckStatus, CheckType, VotedDefinition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The fewest and the most observers that may be asked for; their number is odd.
pub const OBSERVERS: std::ops::RangeInclusive<u32> = 3..=7;

impl VotedDefinition {
    /// The definition of a check that its user defines; unset for one that is not voted on.
    pub fn of(check: &CheckType) -> Option<Box<VotedDefinition>> {
        let voted = VotedDefinition {
            observers: check.observers,
            h2ping: check.h2ping.clone(),
            h2ping_use_tls: check.h2ping_use_tls,
            tcp_use_tls: check.tcp_use_tls,
            grpc_use_tls: check.grpc_use_tls,
            disable_redirects: check.disable_redirects,
            success_before_passing: check.success_before_passing,
            failures_before_warning: check.failures_before_warning,
            failures_before_critical: check.failures_before_critical,
        };
        (check.observers > 0).then(|| Box::new(voted))
    }
}

impl CheckDefinition {
    /// The check as an observer probes it: as its owner does, and by network alone.
    pub fn observed(&self) -> Option<CheckType> {
        let voted = self.voted.as_deref()?;
        Some(CheckType {
            http: self.http.clone(),
            tls_server_name: self.tls_server_name.clone(),
            tls_skip_verify: self.tls_skip_verify,
            header: self.header.clone(),
            method: self.method.clone(),
            body: self.body.clone(),
            disable_redirects: voted.disable_redirects,
            tcp: self.tcp.clone(),
            tcp_use_tls: voted.tcp_use_tls,
            udp: self.udp.clone(),
            grpc: self.grpc.clone(),
            grpc_use_tls: voted.grpc_use_tls,
            h2ping: voted.h2ping.clone(),
            h2ping_use_tls: voted.h2ping_use_tls,
            interval: self.interval,
            timeout: self.timeout,
            success_before_passing: voted.success_before_passing,
            failures_before_warning: voted.failures_before_warning,
            failures_before_critical: voted.failures_before_critical,
            observers: voted.observers,
            ..CheckType::default()
        })
    }
}

/// Refuses a check that cannot be voted on, or not by that number of observers.
pub fn observers_fit(check: &CheckType) -> Result<(), &'static str> {
    let CheckType { observers, http, tcp, udp, grpc, h2ping, .. } = check;
    if *observers == 0 {
        return Ok(());
    }
    if !OBSERVERS.contains(observers) || observers % 2 == 0 {
        return Err("Observers must be 3, 5 or 7, or 0 for a check that only its own agent runs");
    }
    let by_network = [http, tcp, udp, grpc, h2ping].iter().any(|target| !target.is_empty());
    let of_this_host = [&check.os_service, &check.docker_container_id, &check.alias_node, &check.alias_service];
    let by_this_host = of_this_host.iter().any(|target| !target.is_empty()) || !check.script_args.is_empty();
    if !by_network || by_this_host || !check.ttl.is_zero() {
        return Err("Observers can be set for HTTP, TCP, UDP, gRPC and H2PING checks only, which every agent can run");
    }
    Ok(())
}

/// The result of one observer for one check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vote {
    pub node: String,
    pub check_id: String,
    /// The assignment that the observer votes under.
    pub epoch: u64,
    pub status: CheckStatus,
    pub output: String,
}

/// The votes of one agent that are sent together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ballot {
    pub observer: String,
    /// At most one of each check.
    pub votes: Vec<Vote>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Assign {
    pub node: String,
    pub check_id: String,
    /// The epoch that the leader knew, 0 for none. Where the catalog has a different one, the check or its assignment has
    /// changed since.
    pub replaces: u64,
    pub observers: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    pub status: CheckStatus,
    pub output: String,
    /// Milliseconds since the Unix epoch by the leader's clock, when it took the vote.
    pub at: u64,
    pub index: u64,
}

/// The observers of a check, and their votes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Assignment {
    /// The index of the assignment: never the same twice.
    pub epoch: u64,
    /// Node names, the owner first.
    pub observers: Vec<String>,
    /// By observer. Those that have not voted yet are missing.
    pub votes: BTreeMap<String, Counted>,
}

impl Assignment {
    /// The name of an observer as it is written here, without regard to case.
    pub fn observer(&self, name: &str) -> Option<&str> {
        self.observers.iter().map(String::as_str).find(|known| known.eq_ignore_ascii_case(name))
    }

    /// The outcome of the votes so far; unset while they are too few.
    pub fn outcome(&self) -> Option<CheckStatus> {
        outcome(self.observers.len(), self.votes.values().map(|vote| vote.status))
    }

    /// The output of the check: the count of each status, and then each observer.
    pub fn describe(&self, status: CheckStatus) -> String {
        let count = |wanted| self.votes.values().filter(|vote| vote.status == wanted).count();
        let [passing, warning, critical] = [CheckStatus::Passing, CheckStatus::Warning, CheckStatus::Critical].map(count);
        let of = self.observers.len();
        let mut text = format!("{status} by vote: {passing} passing, {warning} warning, {critical} critical of {of} observers");
        for observer in &self.observers {
            // Writing to a text cannot fail.
            let _ = match self.votes.get(observer) {
                Some(vote) => write!(text, "\n{observer}: {}: {}", vote.status, vote.output.trim_end()),
                None => write!(text, "\n{observer}: no vote yet"),
            };
        }
        text
    }

    /// The votes in the order of the observers.
    pub fn shown(&self) -> Vec<ShownVote> {
        let shown = |observer: &String| {
            let vote = self.votes.get(observer)?;
            let (status, output, index) = (vote.status, vote.output.clone(), vote.index);
            Some(ShownVote { observer: observer.clone(), status, output, time: timestamp(vote.at), index })
        };
        self.observers.iter().filter_map(shown).collect()
    }
}

/// The median by severity of `of` votes, once those that are missing cannot move it: then more than
/// half are in, and critical or passing has more than half of all.
pub fn outcome(of: usize, votes: impl Iterator<Item = CheckStatus>) -> Option<CheckStatus> {
    let mut votes: Vec<CheckStatus> = votes.take(of).collect();
    votes.sort_unstable();
    let (middle, missing) = (of / 2, of - votes.len());
    let at = |place: usize| votes.get(place).copied();
    // With every missing vote at one end, and with every one at the other.
    let mildest = if middle < missing { CheckStatus::Passing } else { at(middle - missing)? };
    let gravest = at(middle).unwrap_or(CheckStatus::Critical);
    (mildest == gravest).then_some(mildest)
}

/// A voted check, as `health/votes/:check_id` and its observers get it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VotedCheck {
    pub node: String,
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// The instance it belongs to; empty for a check of the node, and for observers.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    pub status: CheckStatus,
    pub definition: CheckDefinition,
    /// The assignment; 0 before there is one.
    pub epoch: u64,
    pub observers: Vec<String>,
    /// In the order of `observers`.
    pub votes: Vec<ShownVote>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ShownVote {
    pub observer: String,
    pub status: CheckStatus,
    pub output: String,
    /// RFC 3339, by the clock of the leader that took it.
    pub time: String,
    pub index: u64,
}

/// A time of day as RFC 3339 writes it, in UTC.
fn timestamp(unix_millis: u64) -> String {
    let time = std::time::SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(unix_millis));
    let time = time.map(time::OffsetDateTime::from);
    time.and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckStatus::{Critical, Passing, Warning};

    fn of(observers: usize, votes: &[CheckStatus]) -> Option<CheckStatus> {
        outcome(observers, votes.iter().copied())
    }

    #[test]
    fn the_median_counts_once_the_missing_votes_cannot_move_it() {
        for (observers, votes, expected) in [
            (1, &[][..], None),
            (1, &[Critical], Some(Critical)),
            (3, &[], None),
            (3, &[Passing], None),
            (3, &[Passing, Passing], Some(Passing)),
            (3, &[Critical, Critical], Some(Critical)),
            (3, &[Passing, Critical], None),
            (3, &[Passing, Critical, Warning], Some(Warning)),
            (3, &[Passing, Critical, Critical], Some(Critical)),
            (3, &[Critical, Passing, Passing], Some(Passing)),
            (3, &[Warning, Warning], Some(Warning)),
            (5, &[Critical, Critical], None),
            (5, &[Critical, Critical, Critical], Some(Critical)),
            (5, &[Passing, Passing, Critical, Critical], None),
            (5, &[Passing, Passing, Warning, Critical, Critical], Some(Warning)),
            (5, &[Passing, Warning, Warning, Critical], Some(Warning)),
            (7, &[Passing, Passing, Passing, Critical, Critical, Critical, Passing], Some(Passing)),
            (0, &[], None),
        ] {
            assert_eq!(of(observers, votes), expected, "{votes:?} of {observers}");
        }
    }

    #[test]
    fn whatever_is_missing_may_come_as_anything_and_the_outcome_stays() {
        let all = [Passing, Warning, Critical];
        for pattern in 0..3_usize.pow(5) {
            let votes: Vec<CheckStatus> = (0..5).map(|at| all[pattern / 3_usize.pow(at) % 3]).collect();
            let whole = of(5, &votes);
            assert!(whole.is_some());
            for seen in 0..5 {
                assert!(of(5, &votes[..seen]).is_none_or(|early| Some(early) == whole), "{votes:?} after {seen}");
            }
        }
    }

    #[test]
    fn an_observer_probes_as_the_owner_does_and_never_runs_a_command() {
        let check = CheckType {
            h2ping: "h:1".into(),
            h2ping_use_tls: Some(false),
            interval: Duration::from_secs(3),
            failures_before_critical: 2,
            observers: 5,
            ..CheckType::default()
        };
        let definition =
            CheckDefinition { interval: check.interval, voted: VotedDefinition::of(&check), ..CheckDefinition::default() };
        assert_eq!(definition.observed(), Some(check));
        assert_eq!(CheckDefinition::default().observed(), None);
        let definition = serde_json::json!({"ScriptArgs": ["rm"], "DockerContainerID": "x", "Voted": {"Observers": 3}});
        let definition: CheckDefinition = serde_json::from_value(definition).expect("reads");
        let probe = definition.observed().expect("is voted");
        assert!(probe.script_args.is_empty() && probe.docker_container_id.is_empty());
    }

    #[test]
    fn a_time_is_told_in_utc() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_795_780_800_250), "2026-11-27T12:00:00.25Z");
    }
}
