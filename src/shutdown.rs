//! Shutdown as a value. Every long-lived task is spawned through a [`Shutdown`], under a name. Tasks watch
//! [`Shutdown::token`]; [`Shutdown::drain`] waits for them, bounded, and names those that stay.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A task of its own box: the runtime's part of a task is then compiled once, not for each task.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A group of named tasks that stop together. Clones are the same group.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
    alive: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Shutdown {
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// A group that also stops when this one does, counted apart.
    pub fn child(&self) -> Shutdown {
        Shutdown { token: self.token.child_token(), ..Shutdown::default() }
    }

    /// Resolves when the tasks shall stop.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Tells the tasks to stop.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Tells the tasks to stop when the guard is dropped.
    pub fn trigger_on_drop(&self) -> DropGuard {
        self.token.clone().drop_guard()
    }

    /// Runs `task` to its end; it is expected to watch [`Shutdown::token`].
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(name, Box::pin(task));
    }

    /// Runs `task` until it ends or the group stops, whichever is first.
    pub fn spawn_until(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed_until(name, Box::pin(task));
    }

    fn spawn_boxed(&self, name: &'static str, task: Task) {
        let alive = Arc::clone(&self.alive);
        *alive.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        let running = Running { name, alive };
        self.tracker.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    fn spawn_boxed_until(&self, name: &'static str, task: Task) {
        let token = self.token.clone();
        let until = async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = task => {}
            }
        };
        self.spawn_boxed(name, Box::pin(until));
    }

    /// Tells the tasks to stop and waits for them, for `grace` at most; the error names those still at work.
    pub async fn drain(&self, grace: Duration) -> Result<(), Vec<&'static str>> {
        self.token.cancel();
        self.tracker.close();
        let alive = |_elapsed| self.alive.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        tokio::time::timeout(grace, self.tracker.wait()).await.map_err(alive)
    }
}

/// Counts one task under its name for as long as it lives, a panic included.
#[derive(Debug)]
struct Running {
    name: &'static str,
    alive: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = alive.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                alive.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_names_the_tasks_that_stay() {
        let shutdown = Shutdown::new();
        shutdown.spawn_until("obedient", std::future::pending());
        shutdown.spawn("stubborn", std::future::pending());
        assert_eq!(shutdown.drain(Duration::from_secs(1)).await, Err(vec!["stubborn"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_stops_with_its_parent_and_not_the_other_way() {
        let parent = Shutdown::new();
        let child = parent.child();
        child.trigger();
        assert!(!parent.is_triggered());
        let second = parent.child();
        parent.trigger();
        assert!(second.is_triggered());
    }
}
