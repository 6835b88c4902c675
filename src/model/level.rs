//! The format level of a cluster: the entries that its log may hold, and the rules by which they are applied.
//!
//! The level in force is part of the replicated state and never sinks. The tag `level` of a server is the highest level
//! that it reads. The leader proposes only commands that every server of the configuration reads, and raises the level
//! in force once all of them read the next (`raft/levels.rs`).

use serde::{Deserialize, Serialize};

/// The first there was.
pub const BASE: u32 = 0;
pub const VOTES: u32 = 1;
/// Autopilot's configuration; registrations are judged by Consul 1.21's rules (`store/catalog/former.rs`).
pub const AUTOPILOT: u32 = 2;
/// The level itself; every command has an index of its own.
pub const COMMAND_INDEXES: u32 = 3;
/// Keys, sessions and transactions.
pub const KV: u32 = 4;
/// The level that this build reads up to.
pub const OWN: u32 = KV;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// 0 before there is one.
    pub number: u32,
    /// The version of Kontor that raised it.
    pub version: String,
}

impl Level {
    /// A level as this build raises it.
    pub fn by_this_build(number: u32) -> Level {
        Level { number, version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// Refuses a level that this build does not read, with the version that does.
    pub fn check(&self) -> Result<(), String> {
        if self.number <= OWN {
            return Ok(());
        }
        Err(format!(
            "the data of this cluster is of format level {}, this version ({}) reads up to {OWN}; start Kontor {} or a later version",
            self.number,
            env!("CARGO_PKG_VERSION"),
            self.version,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_above_this_build_s_is_refused_with_the_version_that_reads_it() {
        assert_eq!(Level::by_this_build(OWN).check(), Ok(()));
        let error = Level { number: OWN + 1, version: "9.8.7".to_owned() }.check().unwrap_err();
        assert!(error.contains("start Kontor 9.8.7 or a later version"), "{error}");
    }
}
