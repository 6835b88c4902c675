//! Votes of observers on their way to the log: the ones that still count. `principal` has checked whose they are.

use super::Core;
use super::paths::Catalog;
use crate::defaults::{VOTE_OUTPUT_BYTES, VOTES_PER_BALLOT};
use crate::model::command::Command;
use crate::model::fault::Fault;
use crate::model::vote::Ballot;
use std::time::{Duration, SystemTime};

impl Core {
    /// The command for those votes of `ballot` whose assignment still stands; none where no vote counts.
    pub(super) fn counted(&self, catalog: &dyn Catalog, ballot: &Ballot) -> Result<Option<Command>, Fault> {
        if ballot.votes.len() > VOTES_PER_BALLOT {
            let text = format!("expected at most {VOTES_PER_BALLOT} votes in one ballot, got {}", ballot.votes.len());
            return Err(Fault::bad_request(text));
        }
        let mut ballot = catalog.reader().countable(ballot);
        if ballot.votes.is_empty() {
            return Ok(None);
        }
        ballot.votes.iter_mut().for_each(|vote| cut(&mut vote.output));
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Command::Vote { ballot, at }))
    }
}

/// Shortens an output to the part that the catalog keeps of one vote.
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
