//! The call of one watch, and the waiters for one key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The watches that wait for one key, or for one beginning of keys, by their numbers.
pub(super) type Waiters = BTreeMap<u64, Arc<Call>>;

#[derive(Debug, Default)]
pub(super) struct Call {
    /// Stays set, so that a later look sees it too.
    pub(super) called: AtomicBool,
    pub(super) waiting: Notify,
}

impl Call {
    pub(super) fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.waiting.notify_one();
    }
}
