//! The connections that servers of other datacenters hold to this one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Accepted connections by datacenter; as many as `serve` admits.
#[derive(Debug, Default)]
pub(super) struct Inbound(Mutex<BTreeMap<String, usize>>);

impl Inbound {
    /// Counts a connection of `dc` until the result is dropped.
    pub(super) fn enter(self: &Arc<Self>, dc: &str) -> Visit {
        *self.counts().entry(dc.to_owned()).or_default() += 1;
        Visit { inbound: Arc::clone(self), dc: dc.to_owned() }
    }

    /// The connections of `dc` at this moment.
    pub(super) fn count(&self, dc: &str) -> usize {
        // Certificates carry the name in lower case.
        self.counts().get(&dc.to_ascii_lowercase()).copied().unwrap_or(0)
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One accepted connection.
#[derive(Debug)]
pub(super) struct Visit {
    inbound: Arc<Inbound>,
    dc: String,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.inbound.counts();
        if let Some(count) = counts.get_mut(&self.dc) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.dc);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_count_while_they_stand() {
        let inbound = Arc::new(Inbound::default());
        let (one, two) = (inbound.enter("dc2"), inbound.enter("dc2"));
        assert_eq!((inbound.count("DC2"), inbound.count("dc3")), (2, 0));
        drop(one);
        assert_eq!(inbound.count("dc2"), 1);
        drop(two);
        assert!(inbound.counts().is_empty());
    }
}
