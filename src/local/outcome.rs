//! What comes of checks: what they say is taken down, aliases follow, and a service that has been
//! critical for too long goes.
//!
//! Part of `registry`. Time and chance are passed in.

use super::anti_entropy;
use super::checks::{Alias, Finding, judge};
use super::persist::KeptTtl;
use super::registry::{Moment, Registry, unknown_check};
use crate::config::defaults::{ALIAS_ROUNDS, DEREGISTER_CRITICAL_MIN};
use crate::model::check::CheckStatus;
use crate::model::fault::Fault;
use std::collections::BTreeSet;
use std::time::Instant;
use tracing::{debug, info, warn};

impl Registry {
    /// Takes what a run of a check found, unless the check has been stopped or replaced since.
    pub(super) fn found(&mut self, id: &str, start: u64, finding: Finding, now: Instant, random: f64) {
        if !self.running.counts(id, start) {
            return;
        }
        if let Some(known) = self.state.check(id).filter(|known| known.row.status != finding.status) {
            if finding.status == CheckStatus::Critical {
                warn!(check = %id, was = %known.row.status, "check is now critical");
            } else {
                debug!(check = %id, was = %known.row.status, is = %finding.status, "check has changed");
            }
        }
        self.set_status(id, finding.status, &finding.output, now, random);
    }

    /// Takes the word of a service on its TTL check; `random` spreads a deferred output.
    pub(super) fn update_ttl(
        &mut self,
        id: &str,
        status: CheckStatus,
        output: &str,
        now: Moment,
        random: f64,
    ) -> Result<(), Fault> {
        if self.state.check(id).is_none() {
            return Err(unknown_check(id));
        }
        let Some((ttl, output)) = self.deadlines.heard(id, output, now.at) else {
            return Err(Fault::failed(format!("CheckID {id:?} does not have associated TTL")));
        };
        if let Some(disk) = &self.disk {
            let expires = now.unix.saturating_add(ttl);
            let kept = KeptTtl { check_id: id.to_owned(), status, output: output.clone(), expires };
            // A heartbeat is not refused for a full disk: it would turn a healthy service critical.
            if let Err(error) = disk.keep_ttl(&kept) {
                metrics::counter!("kontor.local.ttl_not_kept").increment(1);
                warn!(check = %id, %error, "the state of a TTL check is not kept; after a restart it starts anew");
            }
        }
        self.set_status(id, status, &output, now.at, random);
        Ok(())
    }

    /// Turns the TTL checks critical whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for (id, output) in self.deadlines.expired(now) {
            warn!(check = %id, "TTL expired, the check is critical");
            self.set_status(&id, CheckStatus::Critical, &output, now, 0.0);
        }
    }

    /// Sets what a check says; a change of output alone is pushed later.
    pub(super) fn set_status(&mut self, id: &str, status: CheckStatus, output: &str, now: Instant, random: f64) {
        let output = if self.settings.discard_check_output { "" } else { output };
        let interval = self.settings.check_update_interval;
        let defer = (!interval.is_zero()).then(|| now.checked_add(anti_entropy::defer(interval, random))).flatten();
        let was = self.state.check(id).map(|entry| (entry.row.status, entry.row.service_id.clone()));
        self.state.set_status(id, status, output, defer, now);
        if let Some((was, service)) = was
            && was != status
        {
            self.touch(&service);
        }
    }

    /// The checks of a service, or of the node where it is empty, are not what they were.
    pub(super) fn touch(&mut self, service: &str) {
        self.touched.insert(service.to_owned());
    }

    /// Lets the aliases of services of this agent follow what has changed. An alias may have an alias.
    pub(super) fn settle_aliases(&mut self, now: Instant) {
        for _ in 0..ALIAS_ROUNDS {
            let touched = std::mem::take(&mut self.touched);
            if touched.is_empty() {
                return;
            }
            let follows = |alias: &Alias| touched.contains("") || touched.contains(&alias.service);
            self.judge_aliases(follows, now);
        }
        // Aliases in a circle; what is left of it follows with the next change.
        metrics::counter!("kontor.checks.alias_rounds").increment(1);
    }

    /// Judges every alias of this agent anew: the output of what they mirror may have changed.
    pub(super) fn refresh_aliases(&mut self, now: Instant) {
        self.judge_aliases(|_alias| true, now);
    }

    fn judge_aliases(&mut self, which: impl Fn(&Alias) -> bool, now: Instant) {
        let aliases: Vec<(String, Alias)> =
            self.running.aliases().filter(|(_, alias)| which(alias)).map(|(id, alias)| (id.clone(), alias.clone())).collect();
        for (id, alias) in aliases {
            let others = self.state.checks.iter().filter(|(other, entry)| **other != id && !entry.mark.deleted);
            let exists = || self.state.service(&alias.service).is_some();
            let mut finding = judge(&alias, others.map(|(_, entry)| &*entry.row), exists);
            // Aliases in a circle would quote each other without end.
            finding.output.truncate(finding.output.floor_char_boundary(self.settings.check_output_max_size));
            self.set_status(&id, finding.status, &finding.output, now, 0.0);
        }
    }

    /// Deregisters the services with a check that has been critical for longer than it may.
    pub(super) fn reap(&mut self, now: Instant) {
        let overdue = self.state.checks.values().filter(|entry| {
            let after = entry.row.definition.deregister_critical_service_after;
            let since = entry.critical_since.filter(|_| !after.is_zero() && !entry.mark.deleted);
            since.is_some_and(|since| now.saturating_duration_since(since) > after.max(DEREGISTER_CRITICAL_MIN))
        });
        let services: BTreeSet<String> =
            overdue.map(|entry| entry.row.service_id.clone()).filter(|service| !service.is_empty()).collect();
        for service in services {
            match self.remove_service(&service) {
                Ok(()) => info!(%service, "deregistered: a check of it was critical for too long"),
                Err(fault) => warn!(%service, %fault, "critical for too long, and cannot be deregistered; trying again"),
            }
        }
    }
}
