//! Servers whose log is gone, older than it was, or without room on the disk.

use super::testing::{Cluster, PATIENCE, id};
use super::{awaiting_id, lost_log};
use crate::model::fault::FaultKind;
use std::time::Duration;

/// Waits until server `number` has failed; returns the reason.
async fn failed(cluster: &Cluster, number: u128) -> String {
    let raft = cluster.member(number).raft.clone();
    tokio::time::timeout(PATIENCE, raft.fatal()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_comes_back_under_its_id_without_its_log_takes_no_part() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let [absent, wiped] = cluster.others(leader)[..] else { panic!("two others") };
    cluster.kill(absent).await;
    cluster.write("acknowledged by the leader and the one whose disk is lost").await;
    cluster.kill(wiped).await;
    cluster.wipe(wiped);
    cluster.add(wiped, 3).await;
    let reason = failed(&cluster, wiped).await;
    assert!(reason.contains("has nothing of its log") || reason.contains("its Raft log is empty"), "{reason}");
    let lost = lost_log(&cluster.disk(wiped)).unwrap().expect("it is marked");
    assert!(lost.why.contains("its log") || lost.why.contains("its Raft log"), "{}", lost.why);
    // Without the leader, the two others are no majority that knows the entry.
    cluster.kill(leader).await;
    cluster.kill(wiped).await;
    lost.begin_anew(id(7)).unwrap();
    std::fs::rename(cluster.disk(wiped), cluster.disk(7)).unwrap();
    cluster.add(7, 3).await;
    cluster.add(absent, 3).await;
    cluster.add(leader, 3).await;
    cluster.change(|raft| async move { raft.add_learner(id(7)).await }).await;
    cluster.change(|raft| async move { raft.promote(id(7)).await }).await;
    cluster.change(|raft| async move { raft.remove(id(wiped)).await }).await;
    cluster.everywhere("acknowledged by the leader and the one whose disk is lost").await;
    assert_eq!(awaiting_id(&cluster.disk(7)).unwrap(), None, "it has its log again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_whose_data_directory_is_an_older_copy_takes_no_part() {
    let mut cluster = Cluster::of_three().await;
    cluster.write("a").await;
    cluster.everywhere("a").await;
    let leader = cluster.leader().await;
    let restored = if leader == 1 { 2 } else { 1 };
    cluster.kill(restored).await;
    let copy = cluster.back_up(restored);
    cluster.add(restored, 0).await;
    cluster.write("b").await;
    cluster.everywhere("b").await;
    let progress = |cluster: &Cluster| {
        let known = cluster.member(cluster.ids().first()?.as_u128()).raft.stats().last_log_index;
        let leader = cluster.members.iter().find(|member| member.leadership().is_self)?;
        let peer = leader.raft.progress().into_iter().find(|peer| peer.id == id(restored))?;
        (peer.last_index >= known).then_some(())
    };
    cluster.until("the leader knows that it has it", progress).await;
    cluster.kill(restored).await;
    cluster.wipe(restored);
    std::fs::rename(copy, cluster.disk(restored)).unwrap();
    cluster.add(restored, 0).await;
    let reason = failed(&cluster, restored).await;
    assert!(reason.contains("has acknowledged entry") && reason.contains("older copy"), "{reason}");
    cluster.write("the others go on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_log_that_was_not_always_empty_ends_the_start() {
    let mut cluster = Cluster::of_three().await;
    cluster.kill(1).await;
    std::fs::remove_dir_all(cluster.disk(1).join("raft")).unwrap();
    let error = cluster.try_start(1, 1).await.unwrap_err();
    assert!(error.to_string().contains("has not always been"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_written_ends_no_server() {
    let mut cluster = Cluster::new();
    cluster.snapshot_entries = 10;
    cluster.add(1, 1).await;
    cluster.leader().await;
    for draft in 0..9 {
        std::fs::create_dir(cluster.disk(1).join(format!("raft/snapshot.{draft}"))).unwrap();
    }
    for number in 0..30 {
        cluster.write(&format!("n{number}")).await;
    }
    cluster.until("one has failed", |cluster| cluster.member(1).raft.server.shelf.since_failure()).await;
    cluster.write("goes on").await;
    assert_eq!(*cluster.member(1).raft.server.fatal.borrow(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_takes_no_writes_while_it_leads() {
    let cluster = Cluster::of_one().await;
    let server = &cluster.member(1).raft.server;
    let folder = cluster.disk(1).join("raft");
    server.judge_room(9, 10, &folder).await;
    // The room's own task may have taken a look in between.
    if let Some(refused) = server.refusal() {
        assert_eq!(refused.kind, FaultKind::Busy);
        assert!(refused.message.contains("nearly full") && refused.message.contains("raft"), "{refused}");
    }
    server.judge_room(u64::MAX, 10, &folder).await;
    assert_eq!(server.refusal(), None);
    cluster.write("with room again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_is_nearly_full_hands_over() {
    let cluster = Cluster::of_three().await;
    let former = cluster.leader().await;
    let server = &cluster.member(former).raft.server;
    let handed_over = async {
        // A hand-over may fail on a busy machine: the next one needs another turn from room to none.
        while server.leads_others() {
            for free in [u64::MAX, 9] {
                server.judge_room(free, 10, &cluster.disk(former)).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, handed_over).await.expect("it still leads");
    cluster.write("on another server").await;
}
