//! Plain data with the field's names: registrations, requests, answers.
//!
//! This room does no I/O, reads no clock, draws no random number and knows neither tokio nor Raft. The JSON names are
//! Consul's (`PascalCase`); they are also the keys of the MessagePack form between agents, so fields can be added.

pub mod answer;
pub mod autopilot;
pub mod check;
pub mod command;
pub mod coordinate;
pub mod definition;
pub mod duration;
pub mod fault;
pub mod federation;
pub mod filter;
#[cfg(test)]
pub(crate) mod golden;
pub mod ids;
pub mod indent;
pub mod json;
pub mod kv;
pub mod level;
pub mod log_file;
pub mod member;
pub mod mesh;
pub mod node;
pub mod operation;
pub mod packed;
pub mod part;
pub mod principal;
pub mod query;
pub mod removals;
pub mod request;
pub mod rules;
pub mod service;
pub mod session;
pub mod shorten;
pub mod tail;
pub mod txn;
pub mod uri;
pub mod vote;
pub mod watch;
