//! Three and more servers on a network in memory: beginnings, ends, and what lies between.

use super::message::{self, Envelope, Message, Reply};
use super::openraft_types::{LoggedCommand, LoggedGroup};
use super::testing::{Cluster, PATIENCE, id, register};
use super::{Peer, Raft};
use crate::defaults::{RAFT_ECHO_PATIENCE, RAFT_FSYNC_STUCK, RAFT_GROUP_COMMANDS, RAFT_PROPOSALS};
use crate::model::fault::FaultKind;
use crate::model::ids::ClusterId;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use uuid::Uuid;

fn voters(raft: &Raft) -> Vec<u128> {
    raft.peers().iter().filter(|peer| peer.voter).map(|peer| peer.id.as_u128()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_in_memory_leads_at_once() {
    let cluster = Cluster::in_memory().await;
    cluster.write("a").await;
    let raft = cluster.leading().await;
    assert!(raft.staleness().unwrap() < PATIENCE);
    raft.confirm_leadership().await.unwrap();
    let refused = raft.propose(register("")).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::BadRequest);
    raft.shutdown(PATIENCE).await;
}

/// On one thread, so that all of them are queued before the first entry leaves.
#[tokio::test]
async fn proposals_that_wait_together_share_entries_and_each_hears_its_own_outcome() {
    let cluster = Cluster::in_memory().await;
    let raft = cluster.leading().await;
    let propose = async |number: u32| {
        let name = if number.is_multiple_of(10) { String::new() } else { format!("n{number}") };
        raft.propose(register(&name)).await
    };
    let written = futures_util::future::join_all((0..200).map(propose)).await;
    for (number, written) in written.iter().enumerate() {
        let refused = written.as_ref().is_err_and(|fault| fault.kind == FaultKind::BadRequest);
        assert_eq!(refused, number % 10 == 0, "{number}: {written:?}");
    }
    let indexes: BTreeSet<u64> = written.iter().flatten().map(|written| written.index).collect();
    assert!(indexes.len() <= 200 / RAFT_GROUP_COMMANDS * 2, "{} entries", indexes.len());
    assert_eq!(raft.stats().pending, 0);
    for number in (0..200).filter(|number| number % 10 != 0) {
        cluster.everywhere(&format!("n{number}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_of_which_one_has_the_flag_become_one_cluster() {
    let mut cluster = Cluster::new();
    cluster.add(2, 3).await;
    cluster.add(1, 0).await;
    assert!(cluster.member(2).raft.cluster().borrow().is_none());
    cluster.add(3, 0).await;
    assert_eq!(voters(cluster.leading().await), [1, 2, 3]);
    cluster.write("a").await;
    cluster.everywhere("a").await;
    let clusters: Vec<_> = cluster.members.iter().map(|member| *member.raft.cluster().borrow()).collect();
    assert!(clusters[0].is_some() && clusters.iter().all(|seen| *seen == clusters[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicting_proposals_come_to_one_cluster() {
    let mut cluster = Cluster::new();
    for number in 1..=4 {
        cluster.add(number, 3).await;
        cluster.gossip_to(number, &[]);
    }
    // 2 proposes {2, 3, 4}; 4 is not reached, so the proposal hangs with 3's grant given.
    cluster.net.isolate(id(4), &[id(1), id(2), id(3)]);
    cluster.gossip_to(2, &[2, 3, 4]);
    cluster.gossip_to(1, &[1, 2, 3]);
    cluster.net.heal();
    cluster.gossip();
    cluster.leader().await;
    let seen = |cluster: &Cluster| {
        let mut known: Vec<_> = cluster.members.iter().filter_map(|member| *member.raft.cluster().borrow()).collect();
        known.dedup();
        (known.len() == 1).then_some(())
    };
    cluster.until("one cluster", seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_server_becomes_learner_then_voter_and_never_begins_anew() {
    let mut cluster = Cluster::of_three().await;
    cluster.write("a").await;
    cluster.add(4, 3).await;
    let leader = cluster.leader().await;
    let raft = &cluster.member(leader).raft;
    raft.add_learner(id(4)).await.unwrap();
    assert!(raft.peers().contains(&Peer { id: id(4), voter: false }));
    cluster.everywhere("a").await;
    raft.promote(id(4)).await.unwrap();
    assert_eq!(voters(raft), [1, 2, 3, 4]);
    assert_eq!(*cluster.member(4).raft.cluster().borrow(), *raft.cluster().borrow());
    raft.remove(id(4)).await.unwrap();
    assert_eq!(voters(raft), [1, 2, 3]);
    assert_eq!(raft.remove(id(9)).await.unwrap_err().kind, FaultKind::NotFound);
    // A leader that is to go hands over first, and its successor removes it.
    assert_eq!(raft.remove(id(leader)).await.unwrap_err().kind, FaultKind::NoLeader);
    let next = cluster.leading().await;
    next.remove(id(leader)).await.unwrap();
    assert_eq!(voters(next), cluster.others(leader).into_iter().filter(|number| *number != 4).collect::<Vec<_>>());
    assert_eq!(next.progress().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_voters_is_finished_when_who_asked_for_it_is_gone_after_the_first_step() {
    let mut cluster = Cluster::of_three().await;
    cluster.add(4, 0).await;
    let raft = cluster.leading().await;
    raft.add_learner(id(4)).await.unwrap();
    let is_joint = || raft.server.metrics().membership_config.get_joint_config().len() > 1;
    let mut watched = raft.server.core.metrics();
    let begun = async { while !is_joint() && watched.changed().await.is_ok() {} };
    tokio::select! {
        biased;
        () = begun => {}
        promoted = raft.promote(id(4)) => promoted.unwrap(),
    }
    let finished = |_: &Cluster| (voters(raft).len() == 4 && !is_joint()).then_some(());
    cluster.until("one set of voters", finished).await;
    // Until the finished change is committed another is refused, and that is all it is.
    while let Err(fault) = raft.remove(id(4)).await {
        assert_eq!(fault.kind, FaultKind::Busy, "{fault}");
    }
    assert_eq!(voters(raft), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposer_that_crashes_between_grants_begins_after_its_restart() {
    let mut cluster = Cluster::new();
    for number in 1..=3 {
        cluster.add(number, 3).await;
        cluster.gossip_to(number, &[]);
    }
    cluster.net.isolate(id(3), &[id(1), id(2)]);
    cluster.gossip_to(1, &[1, 2, 3]);
    let granted = |cluster: &Cluster| cluster.member(2).raft.server.log.get("grant").unwrap();
    cluster.until("a grant on disk", granted).await;
    cluster.kill(1).await;
    cluster.add(1, 3).await;
    assert!(cluster.members.iter().all(|member| member.raft.cluster().borrow().is_none()));
    cluster.net.heal();
    assert_eq!(voters(cluster.leading().await), [1, 2, 3]);
    cluster.write("a").await;
    cluster.everywhere("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_leads_again_after_a_restart_with_what_it_had() {
    let mut cluster = Cluster::of_one().await;
    cluster.write("a").await;
    cluster.restart(1).await;
    cluster.leader().await;
    assert!(cluster.member(1).names().contains_key("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_and_then_all_restart_and_find_everything_without_being_told() {
    let mut cluster = Cluster::of_three().await;
    cluster.write("before").await;
    cluster.kill(2).await;
    cluster.write("while one is away").await;
    cluster.add(2, 0).await;
    cluster.everywhere("while one is away").await;
    for number in 1..=3 {
        cluster.kill(number).await;
    }
    for number in 1..=3 {
        cluster.add(number, 0).await;
        cluster.gossip_to(number, &[]);
    }
    cluster.write("after").await;
    for name in ["before", "while one is away", "after"] {
        cluster.everywhere(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_server_comes_back_under_a_new_id() {
    let mut cluster = Cluster::of_three().await;
    cluster.write("a").await;
    cluster.kill(3).await;
    cluster.wipe(3);
    cluster.add(5, 3).await;
    let raft = cluster.leading().await;
    raft.add_learner(id(5)).await.unwrap();
    raft.promote(id(5)).await.unwrap();
    raft.remove(id(3)).await.unwrap();
    assert_eq!(voters(raft), [1, 2, 5]);
    cluster.everywhere("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_request_and_on_shutdown() {
    let cluster = Cluster::of_three().await;
    let first = cluster.leader().await;
    let second = if first == 1 { 2 } else { 1 };
    cluster.member(first).raft.transfer_leadership(Some(id(second))).await.unwrap();
    assert!(!cluster.member(first).raft.holds_lease());
    assert_eq!(cluster.leader().await, second);
    cluster.member(second).raft.shutdown(PATIENCE).await;
    let third = cluster.until("another leader", |cluster| {
        cluster.members.iter().find(|member| member.id != id(second) && member.leadership().is_self).map(|member| member.id)
    });
    third.await;
    let fault = cluster.member(second).raft.propose(register("x")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NoLeader);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_the_leaders_death() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (raft, stop) = (cluster.member(leader).raft.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let name = format!("{writer}-{number}");
                    match raft.propose(register(&name)).await {
                        Ok(_) => acknowledged.push(name),
                        Err(_) if stop.load(Ordering::SeqCst) => break,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
                acknowledged
            })
        })
        .collect();
    cluster.until("some writes", |cluster| (cluster.member(leader).names().len() > 200).then_some(())).await;
    stop.store(true, Ordering::SeqCst);
    cluster.kill(leader).await;
    cluster.write("after").await;
    let next = cluster.leader().await;
    let names = cluster.member(next).names();
    for writer in writers {
        let acknowledged = writer.await.unwrap();
        assert!(!acknowledged.is_empty());
        for name in acknowledged {
            assert!(names.contains_key(&name), "{name} is lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lease_read_is_stale_when_a_follower_is_cut_off_and_the_other_restarts() {
    let mut cluster = Cluster::of_three().await;
    let old = cluster.leader().await;
    let others = cluster.others(old);
    let (cut, restarted) = (others[0], others[1]);
    cluster.net.isolate(id(cut), &[id(old)]);
    // The restarted one no longer hears the leader either: it and the one cut off may elect.
    cluster.restart(restarted).await;
    cluster.net.isolate(id(restarted), &[id(old)]);
    let former = cluster.member(old).raft.clone();
    let view = Arc::clone(&cluster.member(old).view);
    let next = cluster
        .until("another leader", |cluster| {
            let leads = |number: &&u128| cluster.member(**number).leadership().is_self;
            // While nobody else leads, the former may; it is never asked afterwards.
            let found = others.iter().find(leads).copied();
            assert!(found.is_none() || !former.holds_lease(), "two leaders at once");
            found
        })
        .await;
    cluster.member(next).raft.propose(register("new")).await.unwrap();
    assert!(!former.holds_lease() || view.lock().unwrap().contains_key("new"), "a stale read");
    assert!(former.confirm_leadership().await.is_err());
    cluster.net.heal();
    cluster.everywhere("new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followers_age_grows_while_it_is_cut_off() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let follower = if leader == 1 { 2 } else { 1 };
    let fresh = |cluster: &Cluster| cluster.member(follower).raft.staleness().filter(|age| *age < Duration::from_secs(1));
    cluster.until("a fresh follower", fresh).await;
    cluster.net.isolate(id(follower), &cluster.ids());
    let aged = |cluster: &Cluster| cluster.member(follower).raft.staleness().filter(|age| *age > Duration::from_secs(2));
    cluster.until("an old follower", aged).await;
    cluster.net.heal();
    cluster.until("a fresh follower again", fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_an_idle_cluster_stay_fresh_by_its_heartbeats_alone() {
    let cluster = Cluster::of_three().await;
    cluster.leader().await;
    let asked = || cluster.net.asked.load(Ordering::SeqCst);
    let silent = async {
        let mut before = usize::MAX;
        while std::mem::replace(&mut before, asked()) != before {
            tokio::time::sleep(RAFT_ECHO_PATIENCE * 3).await;
        }
    };
    tokio::time::timeout(PATIENCE, silent).await.expect("followers go on asking");
    for number in 1..=3 {
        assert!(cluster.member(number).raft.staleness().unwrap() < PATIENCE, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_others_and_junk_are_refused() {
    let cluster = Cluster::of_three().await;
    let raft = &cluster.member(1).raft;
    let mine = raft.cluster().borrow().unwrap();
    let other = ClusterId(Uuid::from_u128(7));
    let refused = async |message: Bytes| {
        let reply = message::decode::<Reply>(&raft.handle(message).await).unwrap();
        assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    };
    let envelope = |cluster, from, to| {
        message::encode(&Envelope { cluster, from: id(from), to: id(to), ask: Message::Echo, counts: None, echo: None }).unwrap()
    };
    refused(envelope(other, 2, 1)).await;
    refused(envelope(mine, 2, 3)).await;
    refused(envelope(mine, 1, 1)).await;
    let whole = envelope(mine, 2, 1);
    for length in 0..whole.len() {
        refused(whole.slice(..length)).await;
    }
    for junk in [&b"\x01\xdd\xff\xff\xff\xff"[..], b"\x02", b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096]] {
        refused(Bytes::copy_from_slice(junk)).await;
    }
    for position in 0..whole.len() {
        let mut bent = whole.to_vec();
        bent[position] ^= 0x55;
        raft.handle(bent.into()).await;
    }
    cluster.write("still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_is_stuck_takes_no_writes_and_another_leads() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let server = &cluster.member(leader).raft.server;
    server.judge_disk(RAFT_FSYNC_STUCK).await;
    let fault = cluster.member(leader).raft.propose(register("x")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NoLeader);
    server.disk_stuck.store(true, Ordering::SeqCst);
    assert_ne!(cluster.leader().await, leader);
    cluster.write("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_beyond_those_that_may_wait_are_refused_and_taken_later() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let proposals = &cluster.member(leader).raft.server.proposals;
    cluster.net.isolate(id(leader), &cluster.ids());
    let command = register("waits");
    let mut waiting: FuturesUnordered<_> = (0..RAFT_PROPOSALS + 2).map(|_| proposals.propose(&command)).collect();
    // Nothing can be committed: the first answers are those of proposals without a place.
    for _ in 0..2 {
        let fault = waiting.next().await.unwrap().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Busy, "{fault}");
        assert!(fault.message.contains("writes wait already"), "{fault}");
    }
    assert_eq!(proposals.pending(), RAFT_PROPOSALS as u64);
    cluster.net.heal();
    while let Some(ended) = waiting.next().await {
        assert!(!ended.is_err_and(|fault| fault.kind == FaultKind::Busy));
    }
    cluster.write("later").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_stops_by_itself_says_why() {
    let cluster = Cluster::of_one().await;
    let raft = cluster.leading().await;
    let junk: LoggedCommand = rmp_serde::from_slice(&rmp_serde::to_vec(serde_bytes::Bytes::new(b"junk")).unwrap()).unwrap();
    let unanswered = raft.server.core.client_write(LoggedGroup(vec![junk])).await;
    assert!(unanswered.is_err());
    let reason = tokio::time::timeout(PATIENCE, raft.fatal()).await.unwrap();
    assert!(reason.contains("stopped"), "{reason}");
    assert_eq!(raft.propose(register("x")).await.unwrap_err().kind, FaultKind::OutcomeUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_snapshot_and_another_servers_log_refuse_the_start() {
    let mut cluster = Cluster::of_one().await;
    cluster.write("a").await;
    let raft = cluster.member(1).raft.clone();
    raft.server.core.trigger().snapshot().await.unwrap();
    cluster.until("a snapshot", |_| (raft.stats().last_snapshot_index > 0).then_some(())).await;
    drop(raft);
    cluster.kill(1).await;
    let snapshot = cluster.disk(1).join("raft/snapshot");
    let mut bytes = std::fs::read(&snapshot).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let error = cluster.try_start(1, 1).await.unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    let error = cluster.try_start(2, 1).await.unwrap_err();
    assert!(error.to_string().contains("is of server"), "{error}");
}

/// Writes `count` names, 64 at a time, each in an entry of its own: the number of entries wears the core out.
async fn write_many(cluster: &Cluster, prefix: &str, count: usize) {
    let rafts: Vec<_> = cluster.members.iter().map(|member| member.raft.clone()).collect();
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let (rafts, prefix) = (rafts.clone(), prefix.to_owned());
            tokio::spawn(async move {
                for number in (writer..count).step_by(64) {
                    let command = LoggedCommand::encode(&register(&format!("{prefix}-{}", number % 500))).unwrap();
                    let written = async {
                        loop {
                            let leader = rafts.iter().find(|raft| raft.leadership().borrow().is_self);
                            if let Some(raft) = leader
                                && raft.server.core.client_write(LoggedGroup(vec![command.clone()])).await.is_ok()
                            {
                                return;
                            }
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    };
                    tokio::time::timeout(PATIENCE, written).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_lags_far_behind_gets_a_snapshot_and_the_core_outlives_frequent_ones() {
    let mut cluster = Cluster::new();
    cluster.snapshot_entries = 1_000;
    let mut cluster = cluster.with_three().await;
    let leader = cluster.leader().await;
    let away = if leader == 1 { 2 } else { 1 };
    cluster.write("first").await;
    cluster.kill(away).await;
    write_many(&cluster, "x", 45_000).await;
    let purged = |cluster: &Cluster| cluster.member(leader).raft.server.metrics().purged.map(|purged| purged.index());
    assert!(cluster.until("a purge", purged).await > 0);
    cluster.add(away, 0).await;
    write_many(&cluster, "y", 5_000).await;
    cluster.write("last").await;
    cluster.everywhere("last").await;
    assert!(cluster.member(away).raft.stats().last_snapshot_index > 0);
    for member in &cluster.members {
        assert_eq!(*member.raft.server.fatal.borrow(), None);
        assert_eq!(*member.names(), *cluster.member(leader).names());
    }
    // A snapshot and its log give the same again after a restart.
    cluster.restart(away).await;
    cluster.write("again").await;
    cluster.everywhere("again").await;
    assert!(cluster.member(away).names().contains_key("first"));
}
