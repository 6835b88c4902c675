//! The links to one other datacenter, in the order in which they are asked.

use super::choice::Doubles;
use super::feed::heartbeat::Heartbeat;
use super::link::{Cause, Link, Outage, State};
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use arc_swap::ArcSwap;
use quinn::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

/// A link that stands, as one call uses it.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) connection: Connection,
    /// The state that the feeds on it share.
    pub(super) heartbeat: Arc<Heartbeat>,
    parking: Arc<Semaphore>,
}

impl Way {
    /// A place for one more blocking query, if there is one.
    pub(super) fn park(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.parking).try_acquire_owned().ok()
    }

    /// The number of the connection in this process.
    pub(super) fn id(&self) -> usize {
        self.connection.stable_id()
    }
}

/// The links to one other datacenter.
#[derive(Debug, Default)]
pub(super) struct Datacenter {
    /// The one to ask first, its standby, and those that are being dialled.
    links: ArcSwap<Vec<Arc<Link>>>,
    changed: Arc<Notify>,
    /// The cluster that was linked last, or that its servers tell.
    cluster: Mutex<Option<ClusterId>>,
    doubles: Mutex<Doubles>,
}

impl Datacenter {
    /// True if a link stands.
    pub(super) fn is_linked(&self) -> bool {
        self.links.load().iter().any(|link| link.connection().is_some())
    }

    /// The links that stand, in the order in which they are to be asked.
    pub(super) fn ways(&self) -> Vec<Way> {
        let way = |link: &Arc<Link>| {
            let (connection, heartbeat) = link.connection()?;
            Some(Way { connection, heartbeat, parking: Arc::clone(&link.parking) })
        };
        self.links.load().iter().filter_map(way).collect()
    }

    /// The same, after waiting for a first one while there is hope, and no longer than `until`.
    pub(super) async fn wait_for_ways(&self, until: Instant) -> Result<Vec<Way>, Fault> {
        let ways = self.wait_for(until, |_links| Some(self.ways()).filter(|ways| !ways.is_empty())).await;
        ways.ok_or_else(|| self.fault())
    }

    /// The find of `look`, which looks anew at each change while a link may come up, and no longer than `until`.
    async fn wait_for<T>(&self, until: Instant, look: impl Fn(&[Arc<Link>]) -> Option<T>) -> Option<T> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let links = self.links.load_full();
            let found = look(&links);
            let is_hopeless = links.iter().all(|link| matches!(link.state(), State::Down(_)));
            if found.is_some() || is_hopeless || timeout_at(until, changed).await.is_err() {
                return found;
            }
        }
    }

    /// True if no link is up yet, and the first dial of one is under way.
    pub(super) fn is_opening(&self) -> bool {
        let is_under_way = |link: &Arc<Link>| matches!(link.state(), State::Trying | State::Greeting(_));
        !self.is_linked() && self.links.load().iter().any(is_under_way)
    }

    /// A first link whose greeting is under way, after waiting until `until`. None once a link is up or without hope.
    pub(super) async fn wait_for_opening(&self, until: Instant) -> Option<(Arc<Link>, Connection)> {
        let opening = |links: &[Arc<Link>]| {
            let opening = || links.iter().find_map(|link| Some((Arc::clone(link), link.opening()?)));
            if self.is_linked() { Some(None) } else { opening().map(Some) }
        };
        self.wait_for(until, opening).await.flatten()
    }

    /// True if this connection of `link` comes up by `until`; whether the link is wanted then is all the same.
    pub(super) async fn comes_up(&self, link: &Link, connection: &Connection, until: Instant) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if link.connection().is_some_and(|(up, _pulse)| up.stable_id() == connection.stable_id()) {
                return true;
            }
            tokio::select! {
                () = changed => {}
                _error = connection.closed() => return false,
                () = sleep_until(until) => return false,
            }
        }
    }

    /// Has these links from now on, in this order. The same links wake nobody: thousands may wait.
    pub(super) fn set_links(&self, links: Vec<Arc<Link>>) {
        if !self.links.load().iter().map(Arc::as_ptr).eq(links.iter().map(Arc::as_ptr)) {
            self.links.store(Arc::new(links));
            self.changed.notify_waiters();
        }
    }

    /// The notification for all that wait for a link to come or go.
    pub(super) fn waiting(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    pub(super) fn cluster(&self) -> Option<ClusterId> {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_cluster(&self, cluster: ClusterId) {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    }

    /// The links, in the order in which they are to be asked.
    pub(super) fn links(&self) -> Arc<Vec<Arc<Link>>> {
        self.links.load_full()
    }

    /// Resolves when a link comes or goes, counted from this call.
    pub(super) fn change(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Counts a read that is sent.
    pub(super) fn note_read(&self) {
        self.doubles.lock().unwrap_or_else(PoisonError::into_inner).earn();
    }

    /// True if a read that is late or failed may be sent a second time; it then counts as sent.
    pub(super) fn may_double(&self) -> bool {
        let may = self.doubles.lock().unwrap_or_else(PoisonError::into_inner).spend();
        metrics::counter!("kontor.bridge.doubles", "sent" => if may { "yes" } else { "no" }).increment(1);
        may
    }

    fn fault(&self) -> Fault {
        Fault::unreachable(self.outage().map_or_else(|| "unreachable: no link stands yet".to_owned(), |outage| outage.reason()))
    }

    /// Why no link can be asked. A cause that an operator can mend comes before one that may pass by itself.
    pub(super) fn outage(&self) -> Option<Outage> {
        let links = self.links.load();
        let outages = links.iter().filter_map(|link| match link.state() {
            State::Down(outage) => Some(outage),
            State::Trying | State::Greeting(_) | State::Up(..) => None,
        });
        outages.min_by_key(|outage| match outage.cause {
            Cause::TlsRefused(_) | Cause::Refused(_) => 0,
            Cause::NotYetKnown => 1,
            Cause::Unreachable(_) => 2,
        })
    }
}
