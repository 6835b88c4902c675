//! Checks that this agent runs: one kind a file behind [`Probe`], which asks its target once within bounds.

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
