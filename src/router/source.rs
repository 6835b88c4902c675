//! The answers that this server pushes to other datacenters: of its own view, in stale mode. Nothing here waits.

use super::{Core, Router, principal};
use crate::model::answer::{Answer, AnswerMeta};
use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::{Answered, Crosses};
use crate::model::query::{Consistency, Identity};
use crate::model::request::{Interest, Source};
use crate::store::Watch;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

impl Core {
    fn read_own_view(&self, query: &Identity) -> Result<Answer, Fault> {
        let Some(catalog) = self.paths.catalog.as_deref() else { return Err(Fault::no_leader()) };
        let age = catalog.age_of_view().ok_or_else(Fault::no_leader)?;
        let spec = query.read.spec();
        if spec.crosses != Crosses::Users {
            return Err(Fault::new(FaultKind::Denied, format!("{} is told within this datacenter alone", spec.path)));
        }
        principal::admit_feed(&query.principal)?;
        catalog.reader().permit_read(&query.principal, spec.access, spec.name)?;
        match spec.answered {
            Answered::View(read) => {
                let rendered = catalog.reader().read(query.with(read))?;
                Ok(self.rendered(catalog, rendered, Consistency::Stale, age))
            }
            Answered::Servers(read) if spec.shared.fed => {
                // The progress of each server changes with every entry of the log: a feed of that would never be up to date.
                let (body, found) = self.servers_as_seen_here(catalog, read, false)?;
                Ok(Answer { meta: AnswerMeta { found, last_contact: age, ..self.meta(catalog, Consistency::Stale) }, body })
            }
            Answered::Servers(_) | Answered::ThisSide(_) => Err(Fault::failed(format!("{} is asked for each time", spec.path))),
        }
    }
}

impl Source for Router {
    fn age(&self) -> Option<Duration> {
        self.core.paths.catalog.as_ref()?.age_of_view()
    }

    fn watch(&self, query: &Identity) -> Option<Box<dyn Interest>> {
        let reader = self.core.paths.catalog.as_ref()?.reader();
        query.of_view().map(|query| Box::new(reader.watch(query)) as Box<dyn Interest>)
    }

    fn read(&self, query: &Identity) -> Result<Answer, Fault> {
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
