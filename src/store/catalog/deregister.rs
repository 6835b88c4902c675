//! `PUT /v1/catalog/deregister` as the state machine does it: an instance, else a check, else a
//! whole node. Nothing happens where it is gone already.

use super::node_state::NodeState;
use crate::model::command::Deregister;
use crate::model::fault::Fault;
use crate::store::change::Change;
use crate::store::validate;

pub(crate) fn deregister(change: &mut Change<'_>, request: &Deregister) -> Result<(), Fault> {
    validate::deregister(request)?;
    if request.service_id.is_empty() && request.check_id.is_empty() {
        change.remove_node(&request.node);
        return Ok(());
    }
    let Some(state) = change.view.catalog.node(&request.node) else { return Ok(()) };
    let mut state = NodeState::clone(state);
    if request.service_id.is_empty() {
        state.remove_check(&request.check_id);
    } else {
        state.remove_service(&request.service_id);
    }
    change.put_node(state);
    Ok(())
}
