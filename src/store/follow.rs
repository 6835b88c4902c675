//! The consequences of a change in other tables.

use super::change::{Cause, Change};
use super::coordinate::commands as coordinates;
use super::{kv, session};

/// Has the tables follow each other until no cause is left: the one place that says which table follows which. Each
/// step only removes rows or makes them worse, so there is an end.
pub(super) fn follow(change: &mut Change<'_>) {
    while let Some(cause) = change.causes.pop_front() {
        match cause {
            Cause::NodeGone(node) => {
                coordinates::forget(change, &node);
                session::commands::end_all(change, &node);
            }
            Cause::CheckDown { node, check } => session::commands::end_by_check(change, &node, &check),
            Cause::SessionEnded(session) => kv::commands::free(change, &session),
        }
    }
}
