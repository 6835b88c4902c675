//! The freshness that the answer of a read must have: decided once, where the read enters this agent.
//!
//! [`prepared`] is for reads of this agent's users, [`received`] for reads of other agents. Both make the identity
//! canonical, so that equal questions share caches and feeds from then on. Pure.

use super::RouterSettings;
use super::blocking;
use super::route::{is_elsewhere, wanted_dc};
use crate::model::answer::Answer;
use crate::model::operation::{Family, Read, ViewRead};
use crate::model::query::{Consistency, Freshness, Identity, Query};
use crate::model::request::{Operation, Request};
use std::collections::BTreeSet;
use std::time::Duration;

/// The shortest rest of a wait that is sent on; zero would mean the default.
pub(super) const LEAST_WAIT: Duration = Duration::from_millis(1);

/// Reads of other datacenters that are stale by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RemoteStale {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those of these families.
    Only(BTreeSet<Family>),
}

impl RemoteStale {
    /// True if `read` is one of them.
    pub(super) fn covers(&self, read: &Read) -> bool {
        match self {
            RemoteStale::None => false,
            RemoteStale::All => true,
            RemoteStale::Only(families) => families.contains(&read.spec().family),
        }
    }
}

/// `query` with this agent's settings applied.
pub(super) fn prepared(settings: &RouterSettings, mut query: Query) -> Query {
    let elsewhere = is_elsewhere(&settings.datacenter, query.identity.dc.as_deref());
    query.freshness = wanted(settings, &query, elsewhere);
    make_canonical(&mut query, elsewhere, settings.translate_wan_addrs);
    if !query.identity.read.spec().blocks() {
        query.freshness.min_index = 0;
    } else if query.freshness.min_index > 0 {
        let wait = query.freshness.wait;
        query.freshness.wait = blocking::clamp(wait, settings.default_query_time, settings.max_query_time);
    }
    query
}

/// The freshness that the user has asked for, or this agent's settings where the user left it open.
fn wanted(settings: &RouterSettings, query: &Query, elsewhere: bool) -> Freshness {
    // An agent that caches nothing ignores `?cached`.
    let cached = query.freshness.cached.filter(|_| settings.use_cache);
    let mut freshness = Freshness { cached, ..query.freshness };
    let read = &query.identity.read;
    let left_open = freshness.is_left_open();
    // A setting for other datacenters alone counts more there than one for all.
    if left_open && elsewhere && settings.remote_stale.covers(read) {
        freshness.consistency = Consistency::Stale;
    } else if left_open && is_discovery(read) && !settings.discovery_max_stale.is_zero() {
        freshness.max_stale = Some(settings.discovery_max_stale);
    }
    freshness.max_stale = freshness.max_stale.filter(|age| !age.is_zero());
    if freshness.max_stale.is_some() && freshness.consistency == Consistency::Default {
        freshness.consistency = Consistency::Stale;
    }
    if elsewhere {
        bound(settings, &mut freshness);
    }
    freshness
}

/// Bounds the age of answers of another datacenter as this agent's operator wants.
fn bound(settings: &RouterSettings, freshness: &mut Freshness) {
    let bound = settings.remote_max_stale;
    if !bound.is_zero() && freshness.is_stale_allowed() {
        freshness.max_stale = Some(freshness.max_stale.map_or(bound, |asked| asked.min(bound)));
    }
}

/// Drops the parts of the identity that mean nothing where the query goes, and writes the rest in one way.
fn make_canonical(query: &mut Query, elsewhere: bool, translate: bool) {
    let Identity { dc, selection, .. } = &*query.identity;
    let translate = elsewhere && translate;
    let is_lower = |dc: &String| !dc.contains(|c: char| c.is_ascii_uppercase());
    let is_named_so = if elsewhere { selection.near.is_none() && dc.as_ref().is_none_or(is_lower) } else { dc.is_none() };
    if is_named_so && selection.translate == translate {
        return;
    }
    let identity = query.identity_mut();
    identity.selection.translate = translate;
    if elsewhere {
        // A node here is no origin for distances there, and its addresses here cannot be reached from there.
        identity.selection.near = None;
        identity.dc.iter_mut().for_each(|dc| dc.make_ascii_lowercase());
    } else {
        identity.dc = None;
    }
}

/// A request of another agent within the bounds of this one.
pub(super) fn received(settings: &RouterSettings, mut request: Request) -> Request {
    let elsewhere = crosses(&settings.datacenter, &request.operation);
    if let Operation::Read(query) = &mut request.operation {
        if elsewhere {
            bound(settings, &mut query.freshness);
            let translate = query.identity.selection.translate;
            make_canonical(query, elsewhere, translate);
        }
        let freshness = &mut query.freshness;
        freshness.wait = blocking::clamp(freshness.wait, settings.default_query_time, settings.max_query_time);
        if !query.identity.read.spec().blocks() {
            query.freshness.min_index = 0;
        }
    }
    request
}

/// True if `query` is answered from a feed that this agent holds.
pub(super) fn is_cached(settings: &RouterSettings, query: &Query) -> bool {
    let offered = query.identity.read.spec().shared.cached;
    settings.use_cache && offered && query.freshness.cached.is_some() && query.identity.dc.is_none()
}

/// The read to do in place of one whose answer is older than its reader takes: once, in default mode, for the rest of its
/// wait. An answer of another datacenter is within the bound, or its server has said why.
pub(super) fn instead_of_too_old(query: &Query, answer: &Answer, waited: Duration) -> Option<Query> {
    let own = query.identity.dc.is_none();
    let too_old = own && query.freshness.max_stale.is_some_and(|bound| answer.meta.last_contact > bound);
    too_old.then(|| {
        let mut fresh = query.clone();
        fresh.freshness.consistency = Consistency::Default;
        fresh.freshness.max_stale = None;
        if fresh.freshness.min_index > 0 {
            fresh.freshness.wait = fresh.freshness.wait.saturating_sub(waited).max(LEAST_WAIT);
        }
        fresh
    })
}

/// The freshness of the own datacenter's part in an answer of all. That part is cached nowhere: it is as old as this
/// server's view.
pub(super) fn of_own_part(freshness: Freshness) -> Freshness {
    match freshness.cached {
        Some(control) if !control.must_revalidate => {
            let max_stale = [freshness.max_stale, control.max_age].into_iter().flatten().min();
            Freshness { cached: None, consistency: Consistency::Stale, max_stale, ..freshness }
        }
        _ => Freshness { cached: None, ..freshness },
    }
}

/// True if `discovery_max_stale` is meant for it: reads of nodes and services in catalog and health.
fn is_discovery(read: &Read) -> bool {
    match read.spec().view() {
        Some(ViewRead::Catalog(_) | ViewRead::Health(_)) => true,
        Some(ViewRead::Coordinate(_) | ViewRead::Kv(_) | ViewRead::Session(_) | ViewRead::Txn(_)) | None => false,
    }
}

/// True if `ask` goes to another datacenter than `own`.
pub(super) fn crosses(own: &str, ask: &Operation) -> bool {
    is_elsewhere(own, wanted_dc(ask))
}

#[cfg(test)]
mod tests {
    use super::super::testing::settings;
    use super::*;
    use crate::model::ids::Token;
    use crate::model::operation::{CatalogRead, CoordinateRead, FederationRead, HealthRead, Lookup, OperatorRead, StatusRead};
    use crate::model::query::CacheControl;
    use crate::model::query::testing::QueryOptions;
    use crate::model::request::Hops;

    fn query(read: Read, options: QueryOptions) -> Query {
        options.ask(read)
    }

    fn entered(settings: &RouterSettings, query: Query) -> QueryOptions {
        prepared(settings, query).into()
    }

    fn web() -> Read {
        Read::Catalog(CatalogRead::Service { name: "web".into(), lookup: Lookup::Plain })
    }

    #[test]
    fn the_own_datacenter_by_name_is_as_none_and_never_translated() {
        let options =
            QueryOptions { dc: Some("DC1".into()), near: Some("n1".into()), translate: true, ..QueryOptions::default() };
        let found = entered(&settings(), query(web(), options));
        assert_eq!((found.dc, found.near.as_deref(), found.translate), (None, Some("n1"), false));
    }

    #[test]
    fn another_datacenter_is_asked_without_near_and_with_translation_as_configured() {
        for translate_wan_addrs in [true, false] {
            let options = QueryOptions { dc: Some("dc2".into()), near: Some("n1".into()), ..QueryOptions::default() };
            let found = entered(&RouterSettings { translate_wan_addrs, ..settings() }, query(web(), options));
            assert_eq!((found.dc.as_deref(), found.near, found.translate), (Some("dc2"), None, translate_wan_addrs));
        }
    }

    #[test]
    fn discovery_max_stale_is_for_plain_reads_of_catalog_and_health_only() {
        let bound = Duration::from_secs(5);
        let settings = RouterSettings { discovery_max_stale: bound, ..settings() };
        let of = |read, options| {
            let found = entered(&settings, query(read, options));
            (found.consistency, found.max_stale)
        };
        let plain = QueryOptions::default;
        assert_eq!(of(web(), plain()), (Consistency::Stale, Some(bound)));
        assert_eq!(of(Read::Health(HealthRead::State { state: "any".into() }), plain()), (Consistency::Stale, Some(bound)));
        assert_eq!(of(Read::Coordinate(CoordinateRead::Nodes), plain()), (Consistency::Default, None));
        assert_eq!(of(Read::Operator(OperatorRead::RaftConfiguration), plain()), (Consistency::Default, None));
        let consistent = QueryOptions { consistency: Consistency::Consistent, ..plain() };
        assert_eq!(of(web(), consistent), (Consistency::Consistent, None));
        let stale = QueryOptions { consistency: Consistency::Stale, ..plain() };
        assert_eq!(of(web(), stale), (Consistency::Stale, None));
        let cached = QueryOptions { cached: Some(CacheControl::default()), ..plain() };
        assert_eq!(of(web(), cached.clone()), (Consistency::Default, None));
        let uncached = RouterSettings { use_cache: false, ..settings.clone() };
        assert_eq!(entered(&uncached, query(web(), cached)).max_stale, Some(bound));
    }

    #[test]
    fn a_max_stale_means_stale_and_zero_means_none() {
        let of = |seconds| {
            let options = QueryOptions { max_stale: Some(Duration::from_secs(seconds)), ..QueryOptions::default() };
            entered(&settings(), query(web(), options))
        };
        assert_eq!((of(3).consistency, of(3).max_stale), (Consistency::Stale, Some(Duration::from_secs(3))));
        assert_eq!((of(0).consistency, of(0).max_stale), (Consistency::Default, None));
    }

    #[test]
    fn what_says_nothing_is_stale_elsewhere_where_that_is_the_default() {
        let only_catalog = RemoteStale::Only([Family::Catalog].into());
        let discovery_max_stale = Duration::from_secs(5);
        let settings = RouterSettings { remote_stale: only_catalog, discovery_max_stale, ..settings() };
        let of = |read, dc: &str, options: QueryOptions| {
            let found = entered(&settings, query(read, QueryOptions { dc: Some(dc.to_owned()), ..options }));
            (found.consistency, found.max_stale)
        };
        let plain = QueryOptions::default;
        let discovered = (Consistency::Stale, Some(discovery_max_stale));
        assert_eq!(of(web(), "dc2", plain()), (Consistency::Stale, None));
        assert_eq!(of(web(), "*", plain()), (Consistency::Stale, None));
        assert_eq!(of(web(), "dc1", plain()), discovered, "the own datacenter is not meant");
        assert_eq!(of(Read::Health(HealthRead::Node { node: "n".into() }), "dc2", plain()), discovered, "nor is this family");
        assert_eq!(of(Read::Status(StatusRead::Leader), "dc2", plain()), (Consistency::Default, None));
        let consistent = QueryOptions { consistency: Consistency::Consistent, ..plain() };
        assert_eq!(of(web(), "dc2", consistent), (Consistency::Consistent, None));
        let leader = QueryOptions { max_stale: Some(Duration::ZERO), ..plain() };
        assert_eq!(of(web(), "dc2", leader), (Consistency::Default, None), "an explicit not stale");
    }

    #[test]
    fn the_operator_s_bound_is_on_what_may_be_stale_of_other_datacenters() {
        let bound = Duration::from_secs(60);
        let settings = RouterSettings { remote_max_stale: bound, ..settings() };
        let stale = |dc: Option<&str>, max_stale| QueryOptions {
            dc: dc.map(str::to_owned),
            consistency: Consistency::Stale,
            max_stale,
            ..QueryOptions::default()
        };
        let both = |options: QueryOptions| {
            let entered = entered(&settings, query(web(), options.clone())).max_stale;
            let request = Request { operation: Operation::Read(query(web(), options)), hops: Hops::default() };
            let Operation::Read(received) = received(&settings, request).operation else { panic!("it is a write") };
            assert_eq!(entered, received.freshness.max_stale, "here as for a client agent");
            entered
        };
        assert_eq!(both(stale(Some("dc2"), None)), Some(bound));
        assert_eq!(both(stale(Some("dc2"), Some(Duration::from_secs(61)))), Some(bound));
        assert_eq!(both(stale(Some("dc2"), Some(Duration::from_secs(3)))), Some(Duration::from_secs(3)));
        assert_eq!(both(stale(None, None)), None);
        assert_eq!(both(QueryOptions { dc: Some("dc2".into()), ..QueryOptions::default() }), None);
    }

    #[test]
    fn an_answer_of_another_datacenter_is_not_asked_for_twice() {
        let options = QueryOptions {
            max_stale: Some(Duration::from_secs(3)),
            dc: Some("dc2".into()),
            consistency: Consistency::Stale,
            ..QueryOptions::default()
        };
        let mut answer = Answer::default();
        answer.meta.last_contact = Duration::from_secs(9);
        assert_eq!(instead_of_too_old(&query(web(), options), &answer, Duration::ZERO), None);
    }

    #[test]
    fn an_answer_that_is_too_old_is_asked_for_once_more_in_default_mode() {
        let options =
            QueryOptions { max_stale: Some(Duration::from_secs(3)), consistency: Consistency::Stale, ..QueryOptions::default() };
        let query = query(web(), options);
        let mut answer = Answer::default();
        answer.meta.last_contact = Duration::from_secs(3);
        let took = Duration::from_secs(9);
        assert_eq!(instead_of_too_old(&query, &answer, took), None);
        answer.meta.last_contact = Duration::from_millis(3_001);
        let mut parked = query.clone();
        (parked.freshness.min_index, parked.freshness.wait) = (7, Duration::from_secs(60));
        let rest = |took| instead_of_too_old(&parked, &answer, took).unwrap().freshness.wait;
        assert_eq!((rest(took), rest(Duration::from_secs(61))), (Duration::from_secs(51), LEAST_WAIT));
        let again = instead_of_too_old(&query, &answer, took).unwrap();
        assert_eq!((again.freshness.consistency, again.freshness.max_stale), (Consistency::Default, None));
        assert_eq!(instead_of_too_old(&again, &answer, took), None);
    }

    #[test]
    fn only_what_has_an_index_blocks() {
        let of = |read| {
            let options = QueryOptions { min_index: 5, wait: Duration::from_secs(9999), ..QueryOptions::default() };
            let found = entered(&settings(), query(read, options));
            (found.min_index, found.wait)
        };
        assert_eq!(of(web()), (5, Duration::from_secs(600)));
        assert_eq!(of(Read::Status(StatusRead::Leader)).0, 0);
        assert_eq!(of(Read::Federation(FederationRead::Datacenters)).0, 0);
        assert_eq!(of(Read::Operator(OperatorRead::AutopilotHealth)).0, 0);
    }

    #[test]
    fn cached_is_honoured_where_it_is_offered_and_for_the_own_datacenter() {
        let cached = |dc: Option<&str>| QueryOptions {
            cached: Some(CacheControl::default()),
            dc: dc.map(str::to_owned),
            ..QueryOptions::default()
        };
        let is = |settings: &RouterSettings, read, options| is_cached(settings, &prepared(settings, query(read, options)));
        assert!(is(&settings(), web(), cached(None)));
        assert!(is(&settings(), web(), cached(Some("dc1"))));
        assert!(is(&settings(), Read::Federation(FederationRead::Datacenters), cached(None)));
        assert!(is(&settings(), Read::Catalog(CatalogRead::Services), cached(None)));
        assert!(is(&settings(), Read::Health(HealthRead::Service { name: "web".into(), lookup: Lookup::Ingress }), cached(None)));
        assert!(!is(&settings(), web(), cached(Some("dc2"))));
        assert!(!is(&settings(), web(), QueryOptions::default()));
        assert!(!is(&settings(), Read::Catalog(CatalogRead::Nodes), cached(None)));
        assert!(!is(&RouterSettings { use_cache: false, ..settings() }, web(), cached(None)));
    }

    #[test]
    fn caches_and_feeds_are_shared_but_for_what_changes_the_answer() {
        let identity = |options: QueryOptions| prepared(&settings(), query(web(), options)).identity;
        let dc2 = || QueryOptions { dc: Some("dc2".into()), ..QueryOptions::default() };
        let own = QueryOptions {
            dc: Some("DC2".into()),
            near: Some("n1".into()),
            cached: Some(CacheControl::default()),
            max_stale: Some(Duration::from_secs(1)),
            min_index: 7,
            wait: Duration::from_secs(9),
            ..QueryOptions::default()
        };
        assert_eq!(identity(own), identity(dc2()));
        let other = QueryOptions { token: Token("secret".into()), ..dc2() };
        assert_ne!(identity(other), identity(dc2()));
        let dc3 = QueryOptions { dc: Some("dc3".into()), ..QueryOptions::default() };
        assert_ne!(identity(dc3), identity(dc2()));
    }

    #[test]
    fn families_are_told_apart() {
        let only = RemoteStale::Only(BTreeSet::from([Family::Health]));
        let state = Read::Health(HealthRead::State { state: "any".into() });
        assert!(only.covers(&state) && !only.covers(&Read::Catalog(CatalogRead::Nodes)));
        assert!(RemoteStale::All.covers(&Read::Status(StatusRead::Leader)) && !RemoteStale::default().covers(&state));
    }
}
