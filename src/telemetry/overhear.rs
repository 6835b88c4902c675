//! Errors that libraries log from threads of their own and tell nobody else, passed on to who asked for them.
//!
//! `agent` asks; [`super::start`] adds the layer that listens.

use super::line::Said;
use std::sync::OnceLock;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Is told a library's module and what it says.
pub type Listener = fn(&str, &str);

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Has `listener` told of every error that a library logs, in the thread that logs it. The first one stays.
pub fn overhear(listener: Listener) {
    let _ = LISTENER.set(listener);
}

/// Listens to what goes into the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overhearing;

impl<S: Subscriber> Layer<S> for Overhearing {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some(listener) = LISTENER.get().filter(|_| *event.metadata().level() == Level::ERROR) else { return };
        let said = Said::of(event);
        // Only events of the crate `log` name their module so.
        if let Some(module) = &said.target {
            listener(module, &said.message);
        }
    }
}
