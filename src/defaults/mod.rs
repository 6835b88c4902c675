//! Every number of the program, with its unit and the reason for it. One file a room; all are used as
//! `defaults::NAME`.

mod agent;
mod bridge;
mod cli;
mod clock;
mod federation;
mod feed;
mod gossip;
mod http;
mod http1;
mod leader;
mod local;
mod model;
mod proxy;
mod raft;
mod router;
mod rpc;
mod settings;
mod store;
mod watch;

pub use agent::*;
pub use bridge::*;
pub use cli::*;
pub use clock::*;
pub use federation::*;
pub use feed::*;
pub use gossip::*;
pub use http::*;
pub use http1::*;
pub use leader::*;
pub use local::*;
pub use model::*;
pub use proxy::*;
pub use raft::*;
pub use router::*;
pub use rpc::*;
pub use settings::*;
pub use store::*;
pub use watch::*;
