//! The step from one view to the next. A command first finds out if it can be done, and then changes without a way to
//! fail: a refusal leaves no trace.

use super::key::Key;
use super::view::View;
use crate::model::session::Session;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A view in the making, at the index of one command.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) view: &'a mut View,
    pub(super) index: u64,
    /// The keys that became different.
    pub(super) touched: &'a mut BTreeSet<Key>,
    /// The causes that no table has followed yet.
    pub(super) causes: VecDeque<Cause>,
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
}
