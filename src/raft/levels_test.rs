//! Proposals while some server reads less than the others, and the end of that.

use super::Raft;
use super::testing::{Cluster, id, register};
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Command;
use crate::model::fault::FaultKind;
use crate::model::level;
use crate::model::vote::Ballot;

/// Servers 1 to 3; the third reports that it reads up to `third`.
async fn of_an_upgrade(third: u32) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.level = Some(0);
    cluster.net.levels.lock().unwrap().insert(id(3), third);
    cluster.with_three().await
}

/// A leader that is not server 3, which takes itself for one of this build.
async fn leader_but_3(cluster: &Cluster) -> Raft {
    loop {
        match cluster.leader().await {
            3 => cluster.change(|raft| async move { raft.transfer_leadership(Some(id(1))).await }).await,
            leader => return cluster.member(leader).raft.clone(),
        }
    }
}

fn levels(cluster: &Cluster) -> Vec<u32> {
    cluster.members.iter().map(|member| member.raft.server.published.level()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_not_read_is_refused_until_it_does() {
    let cluster = of_an_upgrade(level::VOTES).await;
    let autopilot = || Command::SetAutopilot { config: Box::<AutopilotConfig>::default(), only_at: None };
    let vote = Command::Vote { ballot: Ballot::default(), at: 0 };
    cluster.write("all read this").await;
    let leader = leader_but_3(&cluster).await;
    assert!(leader.propose(vote).await.is_ok(), "all read it, whatever level is in force");
    let fault = leader.propose(autopilot()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Failed);
    assert!(fault.message.contains(&format!("does not know this yet: {}", id(3))), "{fault}");
    let batch = Command::Batch(vec![register("in a batch"), autopilot()]);
    assert!(leader.propose(batch).await.is_err());
    assert_eq!(leader.raise_level().await.unwrap(), [id(3).to_string()]);
    assert_eq!(levels(&cluster), [0, 0, 0]);

    cluster.net.levels.lock().unwrap().clear();
    assert!(leader.propose(autopilot()).await.is_ok());
    cluster.until("the level everywhere", |cluster| (levels(cluster) == [level::OWN; 3]).then_some(())).await;
    assert!(leader.raise_level().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_is_of_the_newest_level_before_its_first_write() {
    let cluster = of_an_upgrade(level::OWN).await;
    assert!(cluster.write("first").await > 0);
    assert_eq!(cluster.leading().await.server.published.level(), level::OWN);
    cluster.everywhere("first").await;
    assert_eq!(levels(&cluster), [level::OWN; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_less_than_there_is_does_not_come_in() {
    let mut cluster = Cluster::of_three().await;
    cluster.net.levels.lock().unwrap().insert(id(4), level::OWN - 1);
    cluster.add(4, 0).await;
    let fault = cluster.leading().await.add_learner(id(4)).await.unwrap_err();
    assert!(fault.message.contains("upgrade it first"), "{fault}");
    cluster.net.levels.lock().unwrap().clear();
    cluster.change(|raft| async move { raft.add_learner(id(4)).await }).await;
}

/// The level in force stays below that of the votes, which the log holds all the same once all servers read them.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_less_than_all_others_does_not_come_in_below_the_level_in_force_either() {
    let mut cluster = of_an_upgrade(level::VOTES).await;
    cluster.add(4, 0).await;
    let leader = leader_but_3(&cluster).await;
    assert!(leader.propose(Command::Vote { ballot: Ballot::default(), at: 0 }).await.is_ok());
    assert_eq!(leader.server.published.level(), level::BASE);
    cluster.net.levels.lock().unwrap().insert(id(4), level::BASE);
    let fault = leader.add_learner(id(4)).await.unwrap_err();
    assert!(fault.message.contains("entries of level 1; upgrade it first"), "{fault}");
    cluster.net.levels.lock().unwrap().clear();
    cluster.change(|raft| async move { raft.add_learner(id(4)).await }).await;
}
