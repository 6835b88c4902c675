//! Equal identities give equal bodies, in every catalog: readers that share an answer get the same bytes.

use super::RouterSettings;
use super::freshness::prepared;
use super::testing::settings;
use crate::model::check::{CheckStatus, HealthCheck};
use crate::model::command::{Command, Register};
use crate::model::fault::Fault;
use crate::model::ids::Token;
use crate::model::operation::{CatalogRead, HealthRead, Lookup, Read};
use crate::model::query::testing::QueryOptions;
use crate::model::query::{CacheControl, Consistency, Identity};
use crate::model::service::NodeService;
use crate::store::{Reader, Store};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

fn reads() -> [Read; 4] {
    let (name, lookup) = ("web".to_owned(), Lookup::Plain);
    [
        Read::Catalog(CatalogRead::Nodes),
        Read::Catalog(CatalogRead::Service { name: name.clone(), lookup }),
        Read::Health(HealthRead::Service { name, lookup }),
        Read::Health(HealthRead::State { state: "any".to_owned() }),
    ]
}

/// Options that differ in the rows they mean.
fn selections() -> [QueryOptions; 5] {
    let plain = QueryOptions::default;
    [
        plain(),
        QueryOptions { tags: vec!["t1".to_owned()], ..plain() },
        QueryOptions { passing: true, ..plain() },
        QueryOptions { filter: Some("Node == n1".to_owned()), ..plain() },
        QueryOptions { node_meta: vec![("rack".to_owned(), "1".to_owned())], ..plain() },
    ]
}

/// The same rows, asked for in other ways.
fn ways(rows: &QueryOptions) -> [QueryOptions; 6] {
    let rows = || rows.clone();
    [
        rows(),
        QueryOptions { dc: Some("DC1".to_owned()), translate: true, ..rows() },
        QueryOptions { consistency: Consistency::Stale, max_stale: Some(Duration::from_secs(5)), ..rows() },
        QueryOptions { consistency: Consistency::Consistent, ..rows() },
        QueryOptions { cached: Some(CacheControl { must_revalidate: true, ..CacheControl::default() }), ..rows() },
        QueryOptions { min_index: 7, wait: Duration::from_secs(3), ..rows() },
    ]
}

fn catalog(rows: &[(u8, u8, u8)]) -> Reader {
    let mut store = Store::new("dc1");
    for (index, (node, id, status)) in (1..).zip(rows) {
        let status = [CheckStatus::Passing, CheckStatus::Warning, CheckStatus::Critical][usize::from(*status) % 3];
        let service_id = format!("web{id}");
        let tags = vec![format!("t{id}")];
        let service = NodeService { id: service_id.clone(), service: "web".to_owned(), tags, ..NodeService::default() };
        let check = HealthCheck { check_id: service_id.clone(), service_id, status, ..HealthCheck::default() };
        let register = Register {
            node: format!("n{node}"),
            address: "10.0.0.1".to_owned(),
            node_meta: Some([("rack".to_owned(), (node % 2).to_string())].into()),
            service: Some(service),
            check: Some(check),
            ..Register::default()
        };
        assert!(store.apply(index, &Command::Register(Box::new(register))).is_ok());
    }
    store.publish();
    store.reader()
}

proptest! {
    #[test]
    fn equal_identities_give_equal_bodies(rows in proptest::collection::vec((0..4_u8, 0..3_u8, 0..3_u8), 0..12)) {
        let (settings, reader): (RouterSettings, _) = (settings(), catalog(&rows));
        let mut bodies: HashMap<Arc<Identity>, Result<Bytes, Fault>> = HashMap::new();
        for read in reads() {
            for token in ["", "secret"] {
                for rows in selections() {
                    let asked = QueryOptions { token: Token(token.to_owned()), ..rows };
                    for options in ways(&asked) {
                        let query = prepared(&settings, options.ask(read.clone()));
                        let body = reader.read(query.identity.of_view().unwrap()).map(|rendered| rendered.body);
                        let known = bodies.entry(query.identity).or_insert_with(|| body.clone());
                        prop_assert_eq!(known, &body);
                    }
                }
            }
        }
        // One for each question of each reader: freshness and the spelling of the datacenter are no part of it.
        prop_assert_eq!(bodies.len(), reads().len() * 2 * selections().len());
    }
}
