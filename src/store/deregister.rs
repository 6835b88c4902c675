//! `PUT /v1/catalog/deregister` as the state machine does it: an instance, else a check, else a
//! whole node. What is not there is already as it shall be.

use super::change::Change;
use super::node_state::NodeState;
use super::validate;
use crate::model::command::Deregister;
use crate::model::fault::Fault;

/// Removes what `request` names, and what hangs on it.
pub(super) fn deregister(change: &mut Change<'_>, request: &Deregister) -> Result<(), Fault> {
    validate::deregister(request)?;
    if request.service_id.is_empty() && request.check_id.is_empty() {
        change.remove(&request.node);
        return Ok(());
    }
    let Some(state) = change.view.node(&request.node) else { return Ok(()) };
    let mut state = NodeState::clone(state);
    if request.service_id.is_empty() {
        state.remove_check(&request.check_id);
    } else {
        state.remove_service(&request.service_id);
    }
    change.put(state);
    Ok(())
}
