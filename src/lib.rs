//! Kontor: the service catalog of a datacenter and the gateway between datacenters, in one binary,
//! with the interfaces of Consul.
//!
//! Rooms, in reading order; `ARCHITECTURE.md` says which may use which.

pub mod defaults;
pub mod model;
pub mod config;
pub mod clock;
pub mod cache;
pub mod shutdown;
pub mod telemetry;
pub mod entrance;
pub mod listener;
pub mod udp;
pub mod store;
pub mod expiry;
pub mod raft;
pub mod gossip;
pub mod tls;
pub mod http1;
pub mod proxy;
pub mod rpc;
pub mod bridge;
pub mod router;
pub mod local;
pub mod leader;
pub mod http;
pub mod watch;
pub mod cli;
pub mod agent;
