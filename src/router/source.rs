//! What this server pushes to other datacenters: its own view, in stale mode.
//!
//! `bridge` reads through it, by way of `agent`. Nothing here waits.

use super::entry::is_of_store;
use super::{Core, Router, crossing};
use crate::model::answer::{Answer, AnswerMeta, Found};
use crate::model::fault::{Fault, FaultKind};
use crate::model::query::{Consistency, Query, Read};
use crate::model::request::{Interest, Source};
use crate::raft::Raft;
use crate::store::Watch;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// How old a stale answer that is read from now on can be; `None` before there is a view. Taken
/// before the read, so that the answer is never older than told.
pub(super) fn age_of_view(raft: &Raft) -> Option<Duration> {
    if raft.holds_lease() { Some(Duration::ZERO) } else { raft.staleness() }
}

impl Core {
    fn read_own_view(&self, query: &Query) -> Result<Answer, Fault> {
        let Some((raft, reader)) = &self.paths.catalog else { return Err(Fault::no_leader()) };
        let age = age_of_view(raft).ok_or_else(Fault::no_leader)?;
        let meta = AnswerMeta { last_contact: age, ..self.meta(raft, Consistency::Stale) };
        if !crossing::may_read(&query.read) {
            return Err(Fault::new(FaultKind::Denied, format!("{:?} is told within this datacenter alone", query.read)));
        }
        if is_of_store(&query.read) {
            let rendered = reader.read(query)?;
            let found = if rendered.found { Found::Yes } else { Found::No };
            let meta = AnswerMeta { index: rendered.index.max(1), indexed: true, found, panic: rendered.panic, ..meta };
            return Ok(Answer { meta, body: rendered.body });
        }
        if !is_of_any_server(&query.read) {
            return Err(Fault::failed(format!("{:?} is asked for each time", query.read)));
        }
        let (body, found) = self.servers_as_seen_here(raft, &query.read)?;
        Ok(Answer { meta: AnswerMeta { found, ..meta }, body })
    }
}

/// Whether every server can tell it, and not the leader alone.
fn is_of_any_server(read: &Read) -> bool {
    matches!(read, Read::StatusLeader | Read::StatusPeers | Read::RaftConfiguration)
}

impl Source for Router {
    fn age(&self) -> Option<Duration> {
        age_of_view(&self.core.paths.catalog.as_ref()?.0)
    }

    fn watch(&self, query: &Query) -> Option<Box<dyn Interest>> {
        let (_, reader) = self.core.paths.catalog.as_ref()?;
        is_of_store(&query.read).then(|| Box::new(reader.watch(query)) as Box<dyn Interest>)
    }

    fn read(&self, query: &Query) -> Result<Answer, Fault> {
        self.core.read_own_view(query)
    }
}

impl Interest for Watch {
    fn called(&self) -> bool {
        Watch::called(self)
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Watch::changed(self))
    }
}
