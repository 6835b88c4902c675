//! Reads of sessions: rows, the keys that wake a reader, and the index.

use crate::model::operation::SessionRead;
use crate::model::session::{Session, ShownSession};
use crate::store::json::List;
use crate::store::key::{Key, Scope, key_of};
use crate::store::select::Select;
use crate::store::view::View;
use bytes::Bytes;
use std::sync::Arc;

/// The sessions of one read.
#[derive(Debug)]
pub struct SessionRows<'v>(pub Vec<&'v Arc<Session>>);

pub(crate) fn rows<'v>(view: &'v View, read: &SessionRead, select: &Select<'_>) -> SessionRows<'v> {
    let sees = |session: &&'v Arc<Session>| select.sees_session(&session.node);
    SessionRows(match read {
        SessionRead::List => view.sessions.all().filter(sees).collect(),
        SessionRead::Node { node } => view.sessions.of_node(&key_of(node)).filter(sees).collect(),
        SessionRead::Info { id } => view.sessions.get(*id).filter(sees).into_iter().collect(),
    })
}

impl SessionRows<'_> {
    /// The JSON.
    pub(crate) fn render(&self) -> Bytes {
        let mut list = List::new();
        self.0.iter().for_each(|session| list.push_value(&ShownSession::from(&***session)));
        list.finish()
    }
}

/// The keys that wake a read.
pub(crate) fn scopes(read: &SessionRead) -> Vec<Scope> {
    vec![Scope::Exact(match read {
        SessionRead::List | SessionRead::Node { .. } => Key::Sessions,
        SessionRead::Info { id } => Key::Session(*id),
    })]
}

/// The index of its answer: that of the table.
pub(crate) fn index(view: &View) -> u64 {
    view.sessions.index
}
