//! An examination of the way to a datacenter and back, by fresh dials. `doctor` judges the findings.

use super::dialled::{DialBack, Dialled, Met};
use super::doctor::{self, Evidence};
use super::endpoint::Endpoint;
use super::link::{self, readable};
use super::report::certificate;
use super::{Bridge, RemoteServer, client, frame};
use crate::defaults;
use crate::model::fault::{Fault, FaultKind};
use crate::model::federation::Examination;
use crate::model::operation::{FederationRead, Read};
use crate::model::principal::Principal;
use crate::model::query::Query;
use crate::model::request::{Hops, Operation, Request};
use bytes::Bytes;
use futures_util::future::{join, join_all};
use quinn::Connection;
use quinn::crypto::rustls::HandshakeData;
use std::sync::{Arc, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

impl Bridge {
    /// Examines the way to `dc` and back, within two seconds when no server answers. An unknown datacenter is `NotFound`.
    pub(super) async fn look_at(&self, dc: &str) -> Result<Examination, Fault> {
        let _room = self.room_to_examine()?;
        let servers = self.servers_of(dc);
        let mut unresolved = Vec::clone(&self.unresolved.load());
        unresolved.retain(|name| name.dc.eq_ignore_ascii_case(dc));
        let named = servers.first().map(|server| &server.dc).or(unresolved.first().map(|name| &name.dc));
        let Some(dc) = named.cloned() else {
            return Err(Fault::not_found(format!("No server of a datacenter {dc:?} is known here")));
        };
        let (dialled, back) = join(self.dial_all(&servers), self.ask_to_dial_back(&dc)).await;
        let evidence = Evidence {
            own_dc: self.us.datacenter.clone(),
            own_server: self.us.node.clone(),
            known: servers.len(),
            inbound: self.inbound.count(&dc),
            unresolved,
            refused: self.links.refused_by(&dc),
            dialled: dialled?,
            back,
            dc: dc.clone(),
        };
        let findings = doctor::findings(&evidence);
        Ok(Examination { datacenter: evidence.own_dc, server: evidence.own_server, examined: dc, findings })
    }

    /// Dials all servers of `dc` that are known here; the answer is for its `examine`.
    pub(super) async fn dial_servers(&self, dc: &str) -> Result<Bytes, Fault> {
        let _room = self.room_to_examine()?;
        let dialled = self.dial_all(&self.servers_of(dc)).await?;
        let found = DialBack { server: self.us.node.clone(), dialled };
        let bytes = serde_json::to_vec(&found).map_err(|error| Fault::failed(format!("cannot be encoded: {error}")))?;
        Ok(bytes.into())
    }

    pub(super) fn endpoint(&self) -> Result<Endpoint, Fault> {
        let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        endpoint.clone().ok_or_else(|| Fault::failed("the agent is shutting down"))
    }

    fn room_to_examine(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.examining).try_acquire_owned().map_err(|_none_left| {
            metrics::counter!("kontor.bridge.examinations_refused").increment(1);
            let why = format!("{} looks for faults are under way already; try again", defaults::DOCTOR_MAX_AT_ONCE);
            Fault::new(FaultKind::Busy, why)
        })
    }

    fn servers_of(&self, dc: &str) -> Vec<RemoteServer> {
        let servers = self.servers.borrow();
        let mut servers: Vec<RemoteServer> =
            servers.iter().filter(|server| server.dc.eq_ignore_ascii_case(dc)).cloned().collect();
        servers.sort_by(|one, other| one.name.cmp(&other.name));
        servers
    }

    async fn dial_all(&self, servers: &[RemoteServer]) -> Result<Vec<Dialled>, Fault> {
        let endpoint = self.endpoint()?;
        let dials = servers.iter().take(defaults::DOCTOR_MAX_SERVERS).map(|server| self.dial_one(&endpoint, server));
        Ok(join_all(dials).await)
    }

    async fn dial_one(&self, endpoint: &Endpoint, server: &RemoteServer) -> Dialled {
        let outcome = link::dial(endpoint, &self.us, server, |_| ()).await.map(|(connection, greeted)| {
            let met = Met {
                name: readable(&greeted.them.node),
                protocol: protocol_of(&connection),
                rtt: connection.rtt(),
                clock_ahead: greeted.clock_ahead,
                certificate: certificate(&connection, &server.dc, &endpoint.trust()),
            };
            connection.close(frame::CANCELLED, b"a look for faults is over");
            met
        });
        Dialled { server: server.name.clone(), addr: server.addr, alive: server.alive, outcome }
    }

    async fn ask_to_dial_back(&self, dc: &str) -> Result<DialBack, Fault> {
        // The other side puts in the datacenter that this side's certificate proves.
        let read = Read::Federation(FederationRead::DialBack { dc: self.us.datacenter.clone() });
        let query = Query::new(read, Principal::agent(&self.us.node));
        let request = Request { operation: Operation::Read(query), hops: Hops { crossed: true, ..Hops::default() } };
        let reply = client::call(&self.links, dc, &request, defaults::DOCTOR_PATIENCE).await?;
        DialBack::read(&reply.answer()?.body)
    }
}

/// The protocol that the two ends have agreed on.
fn protocol_of(connection: &Connection) -> String {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let protocol = data.and_then(|data| data.protocol).unwrap_or_default();
    String::from_utf8_lossy(&protocol).into_owned()
}
