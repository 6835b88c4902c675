//! Tests of the store through its public face.

mod autopilot;
mod golden;
mod indexes;
mod keys;
mod levels;
mod properties;
mod reads;
mod registration;
mod removals;
mod selection;
mod snapshots;
mod votes;

use super::snapshot::{decode, encode};
use super::table::Table;
use super::{Reader, Rendered, Store, Watch};
use crate::model::answer::Found;
use crate::model::check::{CheckDefinition, CheckStatus, HealthCheck};
use crate::model::command::{Command, Deregister, Register, Written};
use crate::model::coordinate::{Coordinate, NodeCoordinate};
use crate::model::fault::Fault;
use crate::model::level::{self, Level};
use crate::model::operation::{CatalogRead, CheckRef, CoordinateRead, HealthRead, Lookup, Read};
use crate::model::principal::Principal;
use crate::model::query::testing::QueryOptions;
use crate::model::query::{Query, ViewQuery};
use crate::model::service::{NodeService, Weights};
use futures_util::FutureExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const ID_1: &str = "40e4a748-2192-161a-0510-9bf59fe950b5";
pub(super) const ID_2: &str = "0f9b6f2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b";

/// A store of the newest level that publishes after each command, at indexes 1, 2, 3, …
pub(super) struct Catalog {
    pub(super) store: Store,
    pub(super) reader: Reader,
    pub(super) index: u64,
}

impl Catalog {
    pub(super) fn new() -> Catalog {
        Catalog::of_level(level::OWN)
    }

    pub(super) fn of_level(level: u32) -> Catalog {
        let mut store = Store::new("dc1");
        assert!(store.apply(0, &Command::RaiseLevel(Level::by_this_build(level))).is_ok());
        store.publish();
        Catalog::of(store)
    }

    pub(super) fn of(store: Store) -> Catalog {
        Catalog { reader: store.reader(), index: Table::index(&store.view().format), store }
    }

    /// The catalog as a server of `datacenter` reads it from a snapshot of this one.
    pub(super) fn restored(&self, datacenter: &str) -> Catalog {
        Catalog::of(restored(&self.store, datacenter))
    }

    pub(super) fn try_apply(&mut self, command: Command) -> Result<Written, Fault> {
        let result = self.store.apply(self.index + 1, &command);
        self.store.publish();
        let view = self.store.view();
        view.tables().iter().for_each(|table| table.verify(&view));
        self.index = Table::index(&view.format);
        result
    }

    pub(super) fn apply(&mut self, command: Command) -> u64 {
        self.try_apply(command).expect("is done").index
    }

    pub(super) fn register(&mut self, request: Register) -> u64 {
        self.apply(Command::Register(Box::new(request)))
    }

    pub(super) fn refused(&mut self, command: Command) -> Fault {
        self.try_apply(command).expect_err("must be refused")
    }

    pub(super) fn refusal(&mut self, request: Register) -> String {
        self.refused(Command::Register(Box::new(request))).message
    }

    pub(super) fn deregister(&mut self, node: &str, service_id: &str, check_id: &str) -> u64 {
        let (node, service_id, check_id) = (node.to_owned(), service_id.to_owned(), check_id.to_owned());
        self.apply(Command::Deregister(Deregister { node, service_id, check_id, ..Deregister::default() }))
    }

    pub(super) fn coordinate(&mut self, node: &str, at: f64) -> u64 {
        let mut coord = Coordinate::default();
        coord.vec[0] = at;
        self.apply(Command::UpdateCoordinates(vec![NodeCoordinate { node: node.to_owned(), coord, ..NodeCoordinate::default() }]))
    }

    pub(super) fn try_read(&self, read: Read, options: QueryOptions) -> Result<Rendered, Fault> {
        self.reader.read(of_view(&options.ask(read)))
    }

    pub(super) fn json(&self, read: Read, options: QueryOptions) -> Value {
        let rendered = self.try_read(read, options).expect("is answered");
        serde_json::from_slice(&rendered.body).expect("is JSON")
    }

    pub(super) fn get(&self, read: Read) -> Value {
        self.json(read, QueryOptions::default())
    }

    pub(super) fn index_of(&self, read: Read) -> u64 {
        self.try_read(read, QueryOptions::default()).expect("is answered").index
    }

    pub(super) fn nodes(&self) -> Value {
        self.get(Read::Catalog(CatalogRead::Nodes))
    }

    pub(super) fn coordinates(&self) -> Value {
        self.get(Read::Coordinate(CoordinateRead::Nodes))
    }

    pub(super) fn watch(&self, read: Read) -> Watch {
        self.reader.watch(of_view(&Query::new(read, Principal::anonymous())))
    }
}

/// True once for all calls since the last time.
pub(super) fn woken(watch: &Watch) -> bool {
    watch.changed().now_or_never().is_some()
}

/// The store written out, with metadata.
pub(super) fn image(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&store.view(), b"raft's own", &mut bytes).expect("is written");
    bytes
}

/// The store as a server of `datacenter` reads it from its snapshot.
pub(super) fn restored(store: &Store, datacenter: &str) -> Store {
    read_back(&image(store), datacenter)
}

pub(super) fn read_back(image: &[u8], datacenter: &str) -> Store {
    let (view, meta) = decode(&mut &*image).expect("is read");
    assert_eq!(meta, b"raft's own");
    let mut store = Store::new(datacenter);
    store.restore(view);
    store
}

pub(super) fn node(name: &str) -> Register {
    Register { node: name.to_owned(), address: "10.0.0.1".to_owned(), ..Register::default() }
}

pub(super) fn instance(node_name: &str, id: &str, name: &str, tags: &[&str]) -> Register {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let service = NodeService { id: id.to_owned(), service: name.to_owned(), tags, port: 80, ..NodeService::default() };
    Register { service: Some(service), ..node(node_name) }
}

/// A check alone: its node stays as it is, or comes into being.
pub(super) fn checked(node_name: &str, id: &str, service_id: &str, status: CheckStatus) -> Register {
    let check = HealthCheck { check_id: id.to_owned(), service_id: service_id.to_owned(), status, ..HealthCheck::default() };
    Register { check: Some(check), skip_node_update: true, ..node(node_name) }
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

/// The query as the store takes it.
pub(super) fn of_view(query: &Query) -> ViewQuery<'_> {
    query.identity.of_view().expect("is of the store")
}

pub(super) fn health(name: &str) -> Read {
    Read::Health(HealthRead::Service { name: name.to_owned(), lookup: Lookup::Plain })
}

pub(super) fn checks_of(node: &str) -> Read {
    Read::Health(HealthRead::Node { node: node.to_owned() })
}

pub(super) fn in_state(state: &str) -> Read {
    Read::Health(HealthRead::State { state: state.to_owned() })
}

pub(super) fn observed_by(node: &str) -> Read {
    Read::Health(HealthRead::ObservedBy { node: node.to_owned() })
}

pub(super) fn votes_on(check_id: &str, node: Option<&str>) -> Read {
    let of = CheckRef { check_id: check_id.to_owned(), node: node.map(str::to_owned) };
    Read::Health(HealthRead::Votes { of: Box::new(of) })
}

pub(super) fn of_node(node: &str) -> Read {
    Read::Catalog(CatalogRead::Node { node: node.to_owned() })
}

pub(super) fn services_of(node: &str) -> Read {
    Read::Catalog(CatalogRead::NodeServices { node: node.to_owned() })
}

pub(super) fn coordinate_of(node: &str) -> Read {
    Read::Coordinate(CoordinateRead::Node { node: node.to_owned() })
}

/// Reads of every row of a node `n1` and of its service `web`.
pub(super) fn reads_of_all_rows() -> Vec<Read> {
    vec![
        Read::Catalog(CatalogRead::Nodes),
        Read::Catalog(CatalogRead::Services),
        service("web"),
        health("web"),
        of_node("n1"),
        services_of("n1"),
        checks_of("n1"),
        Read::Health(HealthRead::Checks { service: "web".to_owned() }),
        in_state("any"),
        Read::Coordinate(CoordinateRead::Nodes),
        coordinate_of("n1"),
    ]
}

pub(super) fn service(name: &str) -> Read {
    Read::Catalog(CatalogRead::Service { name: name.to_owned(), lookup: Lookup::Plain })
}

/// The values at `pointer` of each element of a list.
pub(super) fn column(rows: &Value, pointer: &str) -> Vec<String> {
    let text = |row: &Value| row.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    rows.as_array().expect("is a list").iter().map(text).collect()
}
