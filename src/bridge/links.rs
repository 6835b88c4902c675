//! All links, by datacenter, and why there are none. `link_manager` makes and ends them.

use super::admission::Admission;
use super::datacenter::Datacenter;
use super::link::{Cause, Outage, State};
use crate::defaults;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tracing::info;

/// The links as callers see them.
#[derive(Debug)]
pub(super) struct Links {
    datacenters: ArcSwap<BTreeMap<String, Arc<Datacenter>>>,
    /// Datacenters that had servers once and have none any more.
    removed: Mutex<BTreeSet<String>>,
    /// The datacenters this one deals with, as of the link manager's last look.
    admission: ArcSwap<Admission>,
    /// The datacenters that operators here have closed, as of the same look.
    shut: watch::Sender<BTreeSet<String>>,
    began: Instant,
    /// Notified of each of the link manager's looks.
    reviewed: Notify,
    /// True if this server is shutting down.
    ended: AtomicBool,
}

impl Default for Links {
    fn default() -> Links {
        Links {
            datacenters: ArcSwap::default(),
            removed: Mutex::default(),
            admission: ArcSwap::default(),
            shut: watch::Sender::default(),
            began: Instant::now(),
            reviewed: Notify::new(),
            ended: AtomicBool::new(false),
        }
    }
}

impl Links {
    /// The datacenter's links, or why there can be none.
    pub(super) fn of(&self, dc: &str) -> Result<Arc<Datacenter>, Fault> {
        if let Some(fault) = self.closed(dc) {
            return Err(fault);
        }
        if self.ended.load(Ordering::SeqCst) {
            // Of a kind that lets the asker go to another server.
            return Err(Fault::no_leader().because("this server is shutting down"));
        }
        if let Some(datacenter) = self.datacenters.load().get(dc) {
            return Ok(Arc::clone(datacenter));
        }
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Fault::no_path(if removed.contains(dc) { "removed" } else { "never-joined" }))
    }

    /// The same. In the first moments of a process it waits for this datacenter to be known.
    pub(super) async fn of_soon(&self, dc: &str) -> Result<Arc<Datacenter>, Fault> {
        loop {
            let mut reviewed = std::pin::pin!(self.reviewed.notified());
            reviewed.as_mut().enable();
            let known = self.of(dc);
            let may_come = known.as_ref().is_err_and(|fault| fault.kind == FaultKind::NoPath) && self.refusal(dc).is_none();
            if !may_come || timeout_at(self.began + defaults::BRIDGE_START_GRACE, reviewed).await.is_err() {
                return known;
            }
        }
    }

    pub(super) fn known(&self) -> Arc<BTreeMap<String, Arc<Datacenter>>> {
        self.datacenters.load_full()
    }

    pub(super) fn removed(&self) -> Vec<String> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Why nothing of `dc` is read, not even from memory.
    pub(super) fn closed(&self, dc: &str) -> Option<Fault> {
        self.refusal(dc).map(Fault::no_path)
    }

    /// True if `dc` is `disabled` or `removed` here.
    pub(super) fn refusal(&self, dc: &str) -> Option<&'static str> {
        let admission = self.admission.load();
        // Each read asks this, and hardly ever is a datacenter closed.
        if admission.is_open() { None } else { admission.refusal(dc, self.cluster_of(dc)) }
    }

    /// The names of the closed ones, in lower case; changes wake the receiver.
    pub(super) fn shut(&self) -> watch::Receiver<BTreeSet<String>> {
        self.shut.subscribe()
    }

    /// The closed ones, each with its refusal.
    pub(super) fn refused(&self) -> Vec<(String, &'static str)> {
        let shut = self.shut.borrow().clone();
        shut.into_iter().filter_map(|dc| self.refusal(&dc).map(|refusal| (dc, refusal))).collect()
    }

    /// Resolves once nothing of `dc` is read any more, with the fault for its readers.
    pub(super) async fn until_closed(&self, dc: &str) -> Fault {
        let mut shut = self.shut();
        loop {
            if let Some(fault) = self.closed(dc) {
                return fault;
            }
            if shut.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes in the datacenters that have servers now, and the admission in force.
    pub(super) fn take_in(&self, next: BTreeMap<String, Arc<Datacenter>>, admission: &Admission) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        for dc in self.datacenters.load().keys().filter(|dc| !next.contains_key(*dc)) {
            if let Some(reason) = admission.refusal(dc, None) {
                info!(dc = %dc, reason, "datacenter closed");
                continue;
            }
            info!(dc = %dc, "datacenter removed");
            if removed.len() < defaults::BRIDGE_MAX_REMOVED {
                removed.insert(dc.clone());
            }
        }
        removed.retain(|dc| !next.contains_key(dc));
        drop(removed);
        self.datacenters.store(Arc::new(next));
        if self.ended.load(Ordering::SeqCst) {
            // This server ended while this look was taken, and nothing shall hold the socket.
            self.datacenters.store(Arc::default());
        }
        self.tell_shut(admission);
        self.reviewed.notify_waiters();
    }

    /// Judges datacenters by `admission` from now on.
    pub(super) fn judge_by(&self, admission: Arc<Admission>) {
        self.admission.store(admission);
    }

    /// Publishes the datacenters that are closed now, where that is news.
    fn tell_shut(&self, admission: &Admission) {
        let named = admission.disabled.iter().map(String::as_str).chain(admission.removals.iter().map(|(dc, _)| dc));
        let shut: BTreeSet<String> = named.filter(|dc| self.refusal(dc).is_some()).map(str::to_owned).collect();
        self.shut.send_if_modified(|known| {
            let differs = *known != shut;
            *known = shut;
            differs
        });
    }

    /// The datacenters that have servers and are not closed.
    pub(super) fn datacenters(&self) -> Vec<String> {
        self.datacenters.load().keys().filter(|dc| self.closed(dc).is_none()).cloned().collect()
    }

    pub(super) fn cluster_of(&self, dc: &str) -> Option<ClusterId> {
        self.datacenters.load().get(dc)?.cluster()
    }

    /// The reason that `dc` gave when it refused this datacenter, where nothing else was heard of it since.
    pub(super) fn refused_by(&self, dc: &str) -> Option<String> {
        let links = self.datacenters.load().get(dc)?.links();
        links.iter().find_map(|link| match link.state() {
            State::Down(Outage { cause: Cause::Refused(why), .. }) => Some(why),
            _ => None,
        })
    }

    /// True if a link to `dc` stands, or is about to, after waiting for that no longer than `until`.
    pub(super) async fn have_way(&self, dc: &str, until: Instant) -> bool {
        let datacenter = self.datacenters.load().get(dc).cloned();
        match datacenter {
            Some(datacenter) if datacenter.is_linked() => true,
            Some(datacenter) => datacenter.wait_for_opening(until).await.is_some() || datacenter.is_linked(),
            None => false,
        }
    }

    /// True if a link to `dc` is down, or none is up.
    pub(super) fn has_outage(&self, dc: &str) -> bool {
        let datacenters = self.datacenters.load();
        let Some(datacenter) = datacenters.get(dc) else { return true };
        let links = datacenter.links();
        links.is_empty() || links.iter().any(|link| matches!(link.state(), State::Down(_)))
    }

    /// Forgets all links, and with them the last handles of the socket. Waiting calls are woken.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        for datacenter in self.datacenters.swap(Arc::default()).values() {
            datacenter.set_links(Vec::new());
        }
    }
}
