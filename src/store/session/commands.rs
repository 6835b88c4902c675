//! Sessions that begin and end.

use crate::model::check::CheckStatus;
use crate::model::fault::Fault;
use crate::model::ids::SessionId;
use crate::model::session::Session;
use crate::store::change::{Cause, Change};
use crate::store::key::Key;
use std::sync::Arc;

/// Makes a session, if its node is there and none of its checks is critical.
pub(crate) fn create(change: &mut Change<'_>, wanted: &Session) -> Result<SessionId, Fault> {
    let node = change.view.catalog.node(&wanted.node).ok_or_else(|| Fault::failed("Missing node registration"))?;
    for id in wanted.all_checks() {
        if id.is_empty() {
            return Err(Fault::failed("failed check lookup: index error: object is missing a value for this index"));
        }
        let check = node.check(id).ok_or_else(|| Fault::failed(format!("Missing check '{id}' registration")))?;
        if check.check.status == CheckStatus::Critical {
            return Err(Fault::failed(format!("Check '{id}' is in critical state")));
        }
    }
    let (node, index) = (node.row.node.node.clone(), change.index);
    change.view.sessions.place(Session { node, create_index: index, modify_index: index, ..wanted.clone() });
    touch(change, wanted.id);
    Ok(wanted.id)
}

/// Ends a session, if there is one of that id.
pub(crate) fn end(change: &mut Change<'_>, id: SessionId) {
    if let Some(session) = change.view.sessions.take(id) {
        touch(change, id);
        change.causes.push_back(Cause::SessionEnded(session));
    }
}

/// Ends the sessions of a node that is gone.
pub(crate) fn end_all(change: &mut Change<'_>, node: &Arc<str>) {
    end_those(change, node, |_| true);
}

/// Ends the sessions that depend on a check that is critical or gone.
pub(crate) fn end_by_check(change: &mut Change<'_>, node: &Arc<str>, check: &str) {
    end_those(change, node, |session| session.all_checks().any(|id| id == check));
}

fn end_those(change: &mut Change<'_>, node: &Arc<str>, is_meant: impl Fn(&Session) -> bool) {
    let of_node = change.view.sessions.of_node(node).filter(|session| is_meant(session));
    let ids: Vec<SessionId> = of_node.map(|session| session.id).collect();
    ids.into_iter().for_each(|id| end(change, id));
}

fn touch(change: &mut Change<'_>, id: SessionId) {
    change.view.sessions.index = change.index;
    change.touched.extend([Key::Sessions, Key::Session(id)]);
}
