//! Everything that can be asked, by family, and the one table of what is true of each operation.
//!
//! [`Read::spec`] and [`Write::spec`] are that table. Routing, caches, feeds, merging, crossing and the options of the HTTP API read it, and nothing else decides
//! by kind of operation: a new one is a leaf in `read`, a row in `reads` or `writes`, and its answer.

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
