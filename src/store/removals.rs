//! The removal of other datacenters, and their readmission.

use super::change::Change;
use super::key::Key;
use super::record::{Kind, Writer, parse};
use super::table::Table;
use crate::defaults::FEDERATION_MAX_REMOVED;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use crate::model::removals::Removals;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Notes that a cluster of `dc` is removed; a second time changes nothing.
pub(super) fn remove(change: &mut Change<'_>, dc: &str, cluster: Option<ClusterId>) -> Result<(), Fault> {
    if dc.is_empty() || dc.eq_ignore_ascii_case(&change.view.datacenter) {
        return Err(Fault::bad_request(format!("Expected another datacenter to remove, got {dc:?}")));
    }
    let mut removals = change.view.removals.as_ref().clone();
    removals.remove(dc, cluster);
    if removals.len() > FEDERATION_MAX_REMOVED {
        let text = format!("{FEDERATION_MAX_REMOVED} clusters are removed already; readmit those that are no more");
        return Err(Fault::new(FaultKind::Busy, text));
    }
    if removals != *change.view.removals {
        put(change, removals);
    }
    Ok(())
}

pub(super) fn readmit(change: &mut Change<'_>, dc: &str) -> Result<(), Fault> {
    let mut removals = change.view.removals.as_ref().clone();
    if !removals.readmit(dc) {
        return Err(Fault::not_found(format!("Datacenter {dc:?} is not removed")));
    }
    put(change, removals);
    Ok(())
}

fn put(change: &mut Change<'_>, removals: Removals) {
    change.view.removals = Arc::new(removals);
    change.touched.insert(Key::Removals);
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    datacenter: String,
    cluster: Option<ClusterId>,
}

pub(super) fn load(removals: &mut Arc<Removals>, body: &[u8]) -> Result<(), String> {
    let Record { datacenter, cluster } = parse(body)?;
    Arc::make_mut(removals).remove(&datacenter, cluster);
    Ok(())
}

impl Table for Arc<Removals> {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()> {
        let mut records = self.iter().map(|(datacenter, cluster)| Record { datacenter: datacenter.to_owned(), cluster });
        records.try_for_each(|record| to.value(Kind::Removal, &record))
    }

    #[cfg(test)]
    fn verify(&self, _view: &super::View) {
        assert!(self.len() <= FEDERATION_MAX_REMOVED, "{self:?}");
    }
}
