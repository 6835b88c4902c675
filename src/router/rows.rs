//! Reads of rows for the agent's own parts: of the view here where it may answer, else of another server's JSON.

use super::blocking::{self, News, Seen, Watched};
use super::freshness::{self, LEAST_WAIT};
use super::paths::Catalog;
use super::read::outgrown;
use super::{Core, Router};
use crate::model::check::HealthCheck;
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::node::Node;
use crate::model::query::{Consistency, Query, ViewQuery};
use crate::model::request::Progress;
use crate::model::service::NodeService;
use crate::model::vote::VotedCheck;
use crate::store::{CatalogRows, Rows, View, Watch};
use serde::Deserialize;
use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The rows of one kind of read.
pub trait TypedRows: Sized {
    /// The rows of a view; none where they are of another kind of read.
    fn of(rows: &Rows<'_>) -> Option<Self>;

    /// The rows in the JSON that a server made of its view.
    fn parse(body: &[u8]) -> serde_json::Result<Self>;
}

/// A node with its services: `catalog/node-services/:node`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeRows {
    /// The node; unset where there is none of that name.
    pub node: Option<Node>,
    /// By id.
    #[serde(deserialize_with = "or_none")]
    pub services: Vec<NodeService>,
}

/// `null` is a list without elements.
fn or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<NodeService>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl TypedRows for NodeRows {
    fn of(rows: &Rows<'_>) -> Option<NodeRows> {
        let Rows::Catalog(CatalogRows::NodeServices(found)) = rows else { return None };
        let node = found.as_ref().map(|found| found.node.node.clone());
        let services = found.iter().flat_map(|found| &found.services);
        Some(NodeRows { node, services: services.map(|row| row.service.clone()).collect() })
    }

    fn parse(body: &[u8]) -> serde_json::Result<NodeRows> {
        serde_json::from_slice::<Option<NodeRows>>(body).map(Option::unwrap_or_default)
    }
}

/// Checks: those of a node, of a service or in a state.
impl TypedRows for Vec<HealthCheck> {
    fn of(rows: &Rows<'_>) -> Option<Vec<HealthCheck>> {
        let Rows::Catalog(CatalogRows::Checks(rows)) = rows else { return None };
        Some(rows.iter().map(|row| row.seen().into_owned()).collect())
    }

    fn parse(body: &[u8]) -> serde_json::Result<Vec<HealthCheck>> {
        serde_json::from_slice::<Option<Vec<HealthCheck>>>(body).map(Option::unwrap_or_default)
    }
}

/// The voted checks that an agent observes.
impl TypedRows for Vec<VotedCheck> {
    fn of(rows: &Rows<'_>) -> Option<Vec<VotedCheck>> {
        let Rows::Catalog(CatalogRows::Observed(rows)) = rows else { return None };
        Some(rows.iter().map(|row| row.shown(false)).collect())
    }

    fn parse(body: &[u8]) -> serde_json::Result<Vec<VotedCheck>> {
        serde_json::from_slice(body)
    }
}

impl Router {
    /// Answers a read of the catalog of this datacenter with its rows and its index, and blocks as it says.
    pub async fn rows<T: TypedRows>(&self, mut query: Query) -> Result<(T, u64), Fault> {
        let began = Instant::now();
        if let Some((view, index)) = self.core.view_for(&query).await {
            let found = query.identity.of_view().map(|query| view.find(query, 0)).transpose()?;
            if let Some(rows) = found.and_then(|found| T::of(&found.rows)) {
                return Ok((rows, index));
            }
        }
        // A wait that the view here could not hold goes on elsewhere, for the rest of it.
        if query.freshness.min_index > 0 && !query.freshness.wait.is_zero() {
            query.freshness.wait = query.freshness.wait.saturating_sub(began.elapsed()).max(LEAST_WAIT);
        }
        let path = query.identity.read.spec().path;
        let answer = self.query(query).await?;
        let rows = T::parse(&answer.body);
        let rows = rows.map_err(|error| Fault::failed(format!("a server's answer to {path} cannot be read: {error}")))?;
        Ok((rows, answer.meta.index))
    }
}

impl Core {
    /// The view here that answers `query`, with the index of its answer; unset where there is none or it is too old.
    async fn view_for(&self, query: &Query) -> Option<(Arc<View>, u64)> {
        let catalog = self.paths.catalog.as_deref()?;
        let query = freshness::prepared(&self.settings, query.clone());
        let is_own = query.identity.dc.is_none() && query.freshness.consistency == Consistency::Stale;
        let place = Here { catalog, query: query.identity.of_view().filter(|_| is_own)?, max_stale: query.freshness.max_stale };
        let wait = self.wait_of(query.freshness.wait);
        let seen = blocking::answer(&place, query.freshness.min_index, wait, &Progress::default()).await;
        seen.ok().map(|at| (at.view, at.index))
    }
}

/// The view of this server, for one stale query.
struct Here<'a> {
    catalog: &'a dyn Catalog,
    query: ViewQuery<'a>,
    max_stale: Option<Duration>,
}

/// A view, as far as it decides whether a query has another answer.
struct At {
    view: Arc<View>,
    index: u64,
    cluster: ClusterId,
}

impl News for At {
    fn seen(&self, hasher: &RandomState) -> Seen {
        // Every move of the index is news: the rows need not be looked through for it.
        Seen { index: self.index, body: hasher.hash_one(self.index), cluster: self.cluster }
    }
}

impl Watched for Here<'_> {
    type Answer = At;
    type Watch = Watch;

    fn watch(&self) -> Watch {
        self.catalog.reader().watch(self.query)
    }

    async fn changed(watch: &mut Watch) {
        watch.changed().await;
    }

    async fn read(&self) -> Result<At, Fault> {
        let age = self.catalog.age_of_view().ok_or_else(Fault::no_leader)?;
        if self.max_stale.is_some_and(|bound| age > bound) {
            return Err(Fault::no_leader().because("the view here is too old"));
        }
        let view = self.catalog.reader().view();
        let index = view.index_of(self.query);
        Ok(At { view, index, cluster: self.catalog.cluster().unwrap_or_default() })
    }

    async fn outdated(&self) {
        match self.max_stale {
            Some(bound) => outgrown(self.catalog, bound).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{CheckStatus, VotedDefinition};
    use crate::model::command::{Command, Register};
    use crate::model::operation::{CatalogRead, HealthRead, Read};
    use crate::model::principal::Principal;
    use crate::model::vote::Assign;
    use crate::store::{Reader, Store};
    use std::fmt::Debug;

    /// A node with a service of every kind of field, an ordinary check and a voted one.
    fn catalog() -> Reader {
        let mut check = HealthCheck { check_id: "voted".into(), service_id: "web1".into(), ..HealthCheck::default() };
        check.definition.http = "http://secret".into();
        check.definition.voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
        let status = CheckStatus::Warning;
        let disk = HealthCheck { check_id: "disk".into(), status, output: "full".into(), ..HealthCheck::default() };
        let service =
            NodeService { id: "web1".into(), service: "web".into(), tags: vec!["v1".into()], port: 80, ..NodeService::default() };
        let register = Register {
            node: "n1".into(),
            address: "10.0.0.1".into(),
            node_meta: Some([("rack".to_owned(), "r1".to_owned())].into()),
            service: Some(service),
            checks: vec![check, disk],
            ..Register::default()
        };
        let assign = Assign { node: "n1".into(), check_id: "voted".into(), replaces: 0, observers: vec!["n1".into()] };
        let mut store = Store::new("dc1");
        assert!(store.apply(1, &Command::Register(Box::new(register))).is_ok());
        assert!(store.apply(2, &Command::AssignObservers(vec![assign])).is_ok());
        store.publish();
        store.reader()
    }

    fn both<T: TypedRows + Debug + PartialEq>(read: Read) -> T {
        let (reader, query) = (catalog(), Query::new(read, Principal::agent("n1")));
        let (view, query) = (reader.view(), query.identity.of_view().unwrap());
        let found = view.find(query, 0).unwrap();
        let (here, parsed) = (T::of(&found.rows).unwrap(), T::parse(&found.render().body).unwrap());
        assert_eq!(here, parsed);
        here
    }

    #[test]
    fn rows_of_the_view_here_and_of_another_server_s_json_are_the_same() {
        for (name, count) in [("n1", 1), ("N1", 1), ("n9", 0)] {
            let node = || name.to_owned();
            let of: NodeRows = both(Read::Catalog(CatalogRead::NodeServices { node: node() }));
            assert_eq!((of.node.is_some(), of.services.len()), (count == 1, count));
            let checks: Vec<HealthCheck> = both(Read::Health(HealthRead::Node { node: node() }));
            assert_eq!(checks.len(), 2 * count);
            assert!(checks.iter().all(|check| check.definition.http.is_empty()), "no user is shown how it is probed");
            let observed: Vec<VotedCheck> = both(Read::Health(HealthRead::ObservedBy { node: node() }));
            assert_eq!(observed.len(), count);
        }
    }

    #[test]
    fn null_is_a_node_that_is_not_there_and_a_list_without_elements() {
        for body in [&br#"{"Node":null,"Services":null}"#[..], b"null"] {
            assert_eq!(NodeRows::parse(body).unwrap(), NodeRows::default());
        }
        assert!(<Vec<HealthCheck>>::parse(b"null").unwrap().is_empty());
        let body = br#"{"Node":{"ID":"i","Node":"n1","Address":"a"},"Services":[{"ID":"web1","Service":"web","Tags":[]}]}"#;
        let of = NodeRows::parse(body).unwrap();
        assert_eq!((of.node.unwrap().node.as_str(), of.services[0].service.as_str()), ("n1", "web"));
        let checks = <Vec<HealthCheck>>::parse(br#"[{"Node":"n1","CheckID":"c","Status":"passing"}]"#).unwrap();
        assert_eq!(checks[0].status, CheckStatus::Passing);
    }
}
