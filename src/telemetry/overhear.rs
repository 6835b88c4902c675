//! Errors that libraries only log, from threads of their own, passed on to a listener.

use super::line::Said;
use std::sync::OnceLock;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Gets the module of a library and its message.
pub type Listener = fn(&str, &str);

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Passes every error that a library logs to `listener`, in the thread that logs it. The first listener stays.
pub fn overhear(listener: Listener) {
    _ = LISTENER.set(listener);
}

/// The layer that listens to the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overhearing;

impl<S: Subscriber> Layer<S> for Overhearing {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some(listener) = LISTENER.get().filter(|_| *event.metadata().level() == Level::ERROR) else { return };
        let said = Said::of(event);
        // Only events of the crate `log` have their module there.
        if let Some(module) = &said.target {
            listener(module, &said.message);
        }
    }
}
