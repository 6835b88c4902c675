//! Votes of observers on their way to the log: which of them still count. `principal.rs` has seen whose they are.

use super::Core;
use crate::defaults::{VOTE_OUTPUT_BYTES, VOTES_PER_BALLOT};
use crate::model::command::Command;
use crate::model::fault::Fault;
use crate::model::request::Written;
use crate::model::vote::Ballot;
use crate::raft::Raft;
use std::time::{Duration, SystemTime};

impl Core {
    /// Has those votes of `ballot` counted that are of an assignment that still stands.
    pub(super) async fn count_votes(&self, raft: &Raft, ballot: &Ballot) -> Result<Written, Fault> {
        if ballot.votes.len() > VOTES_PER_BALLOT {
            let text = format!("expected at most {VOTES_PER_BALLOT} votes in one ballot, got {}", ballot.votes.len());
            return Err(Fault::bad_request(text));
        }
        let Some((_, reader)) = &self.paths.catalog else { return Err(Fault::no_leader()) };
        let mut ballot = reader.countable(ballot);
        if ballot.votes.is_empty() {
            return Ok(Written::default());
        }
        ballot.votes.iter_mut().for_each(|vote| cut(&mut vote.output));
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        super::write::propose(raft, Command::Vote { ballot, at }).await
    }
}

/// Shortens an output to what the catalog keeps of one vote.
fn cut(output: &mut String) {
    let end = output.floor_char_boundary(VOTE_OUTPUT_BYTES);
    output.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_cut_between_characters() {
        let mut output = "ö".repeat(VOTE_OUTPUT_BYTES);
        cut(&mut output);
        assert!(output.len() <= VOTE_OUTPUT_BYTES && output.ends_with('ö'));
    }
}
