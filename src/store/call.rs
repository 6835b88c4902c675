//! How one watch is called, and who waits for one key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Those who wait for one key, or for one beginning of keys, by their numbers.
pub(super) type Waiters = BTreeMap<u64, Arc<Call>>;

/// How one watch is called.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Stays set: who looks later sees it too.
    pub(super) called: AtomicBool,
    pub(super) waiting: Notify,
}

impl Call {
    /// Something was published that it hears of.
    pub(super) fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.waiting.notify_one();
    }
}
