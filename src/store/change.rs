//! The step from one view to the next: what a command changes, what follows from it in other tables,
//! and who has to hear of it.
//!
//! A command first finds out whether it can be done, and then changes without a way to fail, so that
//! a refusal leaves no trace.

use super::key::Key;
use super::view::View;
use super::{coordinate, kv, session};
use crate::model::session::Session;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A view in the making, at one index of the log.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) view: &'a mut View,
    pub(super) index: u64,
    /// What became different.
    pub(super) touched: &'a mut BTreeSet<Key>,
    /// What other tables have not followed yet.
    causes: VecDeque<Cause>,
}

/// A change of one table that rows of others depend on.
#[derive(Debug)]
pub(super) enum Cause {
    /// The node of this key is gone, and its services and checks with it.
    NodeGone(Arc<str>),
    /// A check of the node of this key is critical, or gone.
    CheckDown { node: Arc<str>, check: String },
    /// A session is gone.
    SessionEnded(Arc<Session>),
}

impl<'a> Change<'a> {
    pub(super) fn new(view: &'a mut View, index: u64, touched: &'a mut BTreeSet<Key>) -> Change<'a> {
        Change { view, index, touched, causes: VecDeque::new() }
    }

    /// Notes what others follow: [`Change::follow`] has them do it.
    pub(super) fn happened(&mut self, cause: Cause) {
        self.causes.push_back(cause);
    }

    /// Has the tables follow each other until nothing follows any more. Each step only removes rows or
    /// makes them worse, so there is an end. Here stands which table follows which.
    pub(super) fn follow(&mut self) {
        while let Some(cause) = self.causes.pop_front() {
            match cause {
                Cause::NodeGone(node) => {
                    coordinate::forget(self, &node);
                    session::commands::end_all(self, &node);
                }
                Cause::CheckDown { node, check } => session::commands::end_by_check(self, &node, &check),
                Cause::SessionEnded(session) => kv::commands::free(self, &session),
            }
        }
    }
}
