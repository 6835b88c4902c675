//! Checks that this agent runs: one kind a file behind [`Probe`], when in `schedule`, what counts in
//! `thresholds`, the tasks in `runners`.
//!
//! `registry` runs its own checks with it. A probe asks its target once, bounded in time, memory and
//! output; what comes of it is its caller's business.

mod alias;
mod connect;
mod docker;
mod exchange;
mod finding;
mod frames;
mod grpc;
mod h2ping;
mod http;
mod os_service;
mod probe;
mod process;
mod runners;
mod schedule;
mod script;
mod tcp;
mod thresholds;
mod udp;
mod url;

pub(crate) use alias::{Alias, RouterElsewhere, follow, judge};
pub(crate) use finding::Finding;
pub(crate) use probe::{Probe, ProbeSettings};
pub(crate) use runners::Runners;
pub(crate) use thresholds::Thresholds;

#[cfg(test)]
mod tests;
