//! All operations, by family, and the one table of their properties.
//!
//! [`Read::spec`] and [`Write::spec`] are that table. Routing, caches, feeds, merging, crossing and the options of the
//! HTTP API go by it, and nothing else decides by kind of operation. A new one is a leaf in `read` or `write`, a row in
//! `reads` or `writes`, and its answer.

mod read;
mod reads;
mod spec;
mod write;
mod writes;

pub use read::{
    CatalogRead, CheckRef, CoordinateRead, FederationRead, HealthRead, KvPage, KvRead, Lookup, OperatorRead, Read, ServersRead,
    SessionRead, StatusRead, ViewRead,
};
pub use reads::{Answered, Family, Merge, ReadSpec, Shared, Takes};
pub use spec::{Access, Crosses, Need, Resource, Right};
pub use write::{
    CatalogWrite, CoordinateWrite, FederationWrite, HealthWrite, OperatorWrite, PeerRef, Removal, SessionWrite, Write,
};
pub use writes::WriteSpec;
