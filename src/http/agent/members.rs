//! `agent/members`, `join`, `leave`, `force-leave`: the pools this agent is in.

use crate::defaults::{FEDERATION_READMIT_RETRY, FEDERATION_READMIT_WAIT};
use crate::gossip::{Gossip, Roster};
use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, done, ready};
use crate::http::error::ErrorResponse;
use crate::http::federation::readmission;
use crate::model::fault::FaultKind;
use crate::model::member::Member;
use crate::model::principal::Principal;
use crate::model::request::WriteRequest;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The name of clients for all network segments.
const ALL_SEGMENTS: &str = "_all";

/// A member as Consul lists it. The protocol numbers are those of Serf 0.9, which tools print.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RosterEntry<'a> {
    name: &'a str,
    addr: String,
    port: u16,
    tags: &'a BTreeMap<String, String>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

impl RosterEntry<'_> {
    pub(super) fn of(member: &Member) -> RosterEntry<'_> {
        RosterEntry {
            name: &member.name,
            addr: member.addr.ip().to_canonical().to_string(),
            port: member.addr.port(),
            tags: &member.tags,
            status: member.status as u8,
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

/// `GET agent/members?wan&segment`; `null` where there is no such pool.
pub(in crate::http) fn members(api: &Arc<HttpParts>, call: Call) -> Pending {
    if let Some(segment) = call.parameters.filled("segment").filter(|segment| *segment != ALL_SEGMENTS) {
        return ready(Err(ErrorResponse::bad_request(format!("Bad request: network segments are not offered, got {segment:?}"))));
    }
    let pool = if call.parameters.has("wan") { api.wan.as_ref() } else { Some(&api.lan) };
    let roster = pool.map(Gossip::roster);
    let entries = roster.as_ref().map(|roster| roster.members.values().map(RosterEntry::of).collect::<Vec<_>>());
    ready(super::json(&entries))
}

/// `PUT agent/join/:address?wan`
pub(in crate::http) fn join(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let pool = match (call.parameters.has("wan"), &api.wan) {
        (false, _) => api.lan.clone(),
        (true, Some(wan)) => wan.clone(),
        (true, None) => return ready(Err(ErrorResponse::failed("WAN pool is not available on this agent: ask a server"))),
    };
    let (api, principal) = (Arc::clone(api), call.principal());
    let address = call.named("Missing address to join");
    done(async move {
        let addresses = [address?];
        let removed = joined(&pool, &addresses).await?;
        if removed.is_empty() {
            return Ok(());
        }
        // A join of a datacenter that was removed here lets it in again.
        for dc in &removed {
            readmit(&api, dc, &principal).await?;
        }
        let deadline = Instant::now() + FEDERATION_READMIT_WAIT;
        // The pool hears of it once this server has applied it.
        while !joined(&pool, &addresses).await?.is_empty() {
            if Instant::now() >= deadline {
                let text = "the datacenter is readmitted, and this server has not heard of it yet; try again";
                return Err(ErrorResponse::failed(text));
            }
            tokio::time::sleep(FEDERATION_READMIT_RETRY).await;
        }
        Ok(())
    })
}

/// Joins. Returns the datacenters that answered and are refused, because they were removed.
async fn joined(pool: &Gossip, addresses: &[String]) -> Result<BTreeSet<String>, ErrorResponse> {
    let joined = pool.join(addresses).await.map_err(|error| ErrorResponse::failed(error.to_string()))?;
    Ok(joined.removed)
}

async fn readmit(api: &HttpParts, dc: &str, principal: &Principal) -> Result<(), ErrorResponse> {
    match api.router.write(WriteRequest { dc: None, principal: principal.clone(), write: readmission(dc.to_owned()) }).await {
        // Another request was faster.
        Err(fault) if fault.kind == FaultKind::NotFound => Ok(()),
        written => Ok(written.map(drop)?),
    }
}

/// `PUT agent/leave`
pub(in crate::http) fn leave(api: &Arc<HttpParts>, _call: Call) -> Pending {
    // A begun leave is finished: a client that hangs up must not leave this agent half gone.
    let left = tokio::spawn(api.control.leave());
    done(async move { left.await.map_err(|error| ErrorResponse::failed(format!("leaving failed: {error}"))) })
}

/// `PUT agent/force-leave/:node?prune`
pub(in crate::http) fn force_leave(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let (prune, only_wan) = (call.parameters.has("prune"), call.parameters.has("wan"));
    let (api, name) = (Arc::clone(api), call.named("Missing node name"));
    done(async move {
        let name = name?;
        let lan = if only_wan { None } else { Some(api.lan.force_leave(&name, prune).await) };
        let wan = match &api.wan {
            Some(wan) => Some(wan.force_leave(&wan_name(&name, &wan.roster(), &api.settings.datacenter), prune).await),
            None => None,
        };
        // Clients are in no WAN pool: one pool that knew the name is enough.
        match (lan, wan) {
            (Some(Ok(())), _) | (_, Some(Ok(()))) => Ok(()),
            (Some(Err(error)), _) | (None, Some(Err(error))) => Err(ErrorResponse::failed(format!("agent: {error}"))),
            (None, None) => Err(ErrorResponse::failed("WAN pool is not available on this agent: ask a server")),
        }
    })
}

/// The name in the WAN pool: `name` itself if the pool knows it, else with this datacenter.
fn wan_name(name: &str, roster: &Roster, dc: &str) -> String {
    if roster.members.contains_key(name) { name.to_owned() } else { format!("{name}.{dc}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::member::MemberStatus;
    use serde_json::json;

    fn roster() -> Roster {
        let tags = BTreeMap::from([("dc".to_owned(), "dc2".to_owned())]);
        let addr = "10.1.0.1:8302".parse().unwrap();
        let member = Member { name: "s1.dc2".to_owned(), addr, tags, status: MemberStatus::Failed };
        Roster { members: BTreeMap::from([(member.name.clone(), member)]) }
    }

    #[test]
    fn a_member_has_the_shape_that_clients_parse() {
        let roster = roster();
        let entries: Vec<_> = roster.members.values().map(RosterEntry::of).collect();
        let expected = json!([{
            "Name": "s1.dc2", "Addr": "10.1.0.1", "Port": 8302, "Tags": {"dc": "dc2"}, "Status": 4,
            "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
        }]);
        assert_eq!(serde_json::to_value(&entries).unwrap(), expected);
    }

    #[test]
    fn a_name_is_completed_for_the_wan_pool_unless_it_is_one_of_its_names() {
        assert_eq!(wan_name("s1.dc2", &roster(), "dc1"), "s1.dc2");
        assert_eq!(wan_name("s1", &roster(), "dc1"), "s1.dc1");
    }
}
