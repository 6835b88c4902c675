//! The seeded source of all faults.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// The faults of one seed; clones draw from the same sequence.
#[derive(Clone, Debug)]
pub(super) struct Chance {
    rng: Arc<Mutex<StdRng>>,
    is_rough: Arc<AtomicBool>,
}

impl Chance {
    /// Nothing fails before it is rough.
    pub(super) fn new(seed: u64) -> Chance {
        Chance { rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), is_rough: Arc::default() }
    }

    /// From now on faults strike, or none does.
    pub(super) fn set_rough(&self, is_rough: bool) {
        self.is_rough.store(is_rough, Ordering::Relaxed);
    }

    /// True if a fault strikes that does so once in `many` times.
    pub(super) fn strikes(&self, many: usize) -> bool {
        self.is_rough.load(Ordering::Relaxed) && self.one_in(many)
    }

    /// True once in `many` times.
    pub(super) fn one_in(&self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(super) fn below(&self, end: usize) -> usize {
        self.rng.lock().unwrap().random_range(0..end)
    }

    pub(super) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.lock().unwrap().random_range(range))
    }

    pub(super) async fn pause(&self, millis: Range<u64>) {
        sleep(self.millis(millis)).await;
    }
}
