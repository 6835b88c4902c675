//! The steps of a change: `plan` and `reload` make them, `persist` and `registry` carry them out.

use super::Source;
use super::definition::NewCheck;
use crate::model::fault::Fault;
use crate::model::ids::Token;
use crate::model::service::NodeService;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) enum Step {
    /// Registers a service or replaces it.
    PutService {
        row: Box<NodeService>,
        token: Token,
        source: Source,
    },
    PutCheck {
        new: Box<NewCheck>,
        source: Source,
    },
    /// Removes a service; its checks go by steps of their own.
    DropService(String),
    /// Removes a check that may be there.
    DropCheck(String),
    /// Records the definitions of configuration files.
    Reloaded {
        node_meta: BTreeMap<String, String>,
        said: Box<FromFiles>,
    },
}

/// The steps of a change, or the reason to refuse it.
pub(super) type Plan = Result<Vec<Step>, Fault>;

impl Step {
    /// The place in the order of changes on the disk, lowest first.
    pub(super) fn place_on_disk(&self) -> u8 {
        match self {
            Step::PutCheck { source: Source::Api, .. } => 0,
            Step::PutService { source: Source::Api, .. } => 1,
            Step::PutService { source: Source::File, .. } | Step::DropService(_) => 2,
            Step::PutCheck { source: Source::File, .. } | Step::DropCheck(_) | Step::Reloaded { .. } => 3,
        }
    }
}

/// The last definitions of configuration files, by id.
#[derive(Debug, Default)]
pub(super) struct FromFiles {
    pub(super) services: BTreeMap<String, (NodeService, Token)>,
    pub(super) checks: BTreeMap<String, NewCheck>,
}
