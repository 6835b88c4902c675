//! What the agent that a user asks makes of a read before it is sent anywhere.
//!
//! [`Router::query`](super::Router::query) alone uses it; requests that come from other agents have
//! been through it there. Pure.

use super::RouterSettings;
use super::blocking;
use super::route::{is_elsewhere, wanted_dc};
use crate::model::answer::Answer;
use crate::model::operation::{Read, ViewRead};
use crate::model::query::{Consistency, Query, QueryOptions};
use crate::model::request::{Ask, Request};
use std::time::Duration;

/// The shortest rest of a wait that is sent on; zero would mean the default.
pub(super) const LEAST_WAIT: Duration = Duration::from_millis(1);

/// `query` with this agent's settings applied.
pub(super) fn prepared(settings: &RouterSettings, mut query: Query) -> Query {
    // An agent that caches nothing takes a `?cached` for not said.
    query.options.cached = query.options.cached.filter(|_| settings.use_cache);
    let elsewhere = is_elsewhere(&settings.datacenter, query.options.dc.as_deref());
    let plain = is_plain(&query);
    // What is said of other datacenters alone counts more there than what is said of all.
    let stale_by_default = elsewhere && plain && settings.remote_stale.covers(&query.read);
    let discovered = is_discovery(&query.read) && plain && !settings.discovery_max_stale.is_zero();
    let options = &mut query.options;
    if stale_by_default {
        options.consistency = Consistency::Stale;
    } else if discovered {
        options.max_stale = Some(settings.discovery_max_stale);
    }
    options.max_stale = options.max_stale.filter(|age| !age.is_zero());
    if options.max_stale.is_some() && options.consistency == Consistency::Default {
        options.consistency = Consistency::Stale;
    }
    if elsewhere {
        // A node here is no origin for distances there, and its addresses here cannot be reached from there.
        options.near = None;
        options.translate = settings.translate_wan_addrs;
        bound(settings, options);
    } else {
        options.dc = None;
        options.translate = false;
    }
    if !query.read.spec().blocks() {
        query.options.min_index = 0;
    } else if query.options.min_index > 0 {
        query.options.wait = blocking::clamp(query.options.wait, settings.default_query_time, settings.max_query_time);
    }
    query
}

/// Has what comes from another datacenter be no older than this agent's operator wants.
fn bound(settings: &RouterSettings, options: &mut QueryOptions) {
    let bound = settings.remote_max_stale;
    if !bound.is_zero() && is_stale_allowed(options) {
        options.max_stale = Some(options.max_stale.map_or(bound, |asked| asked.min(bound)));
    }
}

/// A request of another agent, whose bounds need not be this one's.
pub(super) fn received(settings: &RouterSettings, mut request: Request) -> Request {
    let elsewhere = crosses(&settings.datacenter, &request.ask);
    if let Ask::Read(query) = &mut request.ask {
        if elsewhere {
            bound(settings, &mut query.options);
        }
        query.options.wait = blocking::clamp(query.options.wait, settings.default_query_time, settings.max_query_time);
        if !query.read.spec().blocks() {
            query.options.min_index = 0;
        }
    }
    request
}

/// Whether `query` is answered from a feed that this agent holds.
pub(super) fn is_cached(settings: &RouterSettings, query: &Query) -> bool {
    settings.use_cache && query.read.spec().shared.cached && query.options.cached.is_some() && query.options.dc.is_none()
}

/// Whether any answer will do whose age is told.
pub(super) fn is_stale_allowed(options: &QueryOptions) -> bool {
    options.consistency == Consistency::Stale || options.cached.is_some()
}

/// The read to do in place of one whose answer, which took `waited`, is older than its asker takes:
/// once, in default mode, and for what is left of its wait, or the asker would give up before. Only
/// for the own datacenter: what comes from another is within the bound, or its server has said why.
pub(super) fn instead_of_too_old(query: &Query, answer: &Answer, waited: Duration) -> Option<Query> {
    let own = query.options.dc.is_none();
    let too_old = own && query.options.max_stale.is_some_and(|bound| answer.meta.last_contact > bound);
    too_old.then(|| {
        let mut fresh = query.clone();
        fresh.options.consistency = Consistency::Default;
        fresh.options.max_stale = None;
        if fresh.options.min_index > 0 {
            fresh.options.wait = fresh.options.wait.saturating_sub(waited).max(LEAST_WAIT);
        }
        fresh
    })
}

/// Whether `discovery_max_stale` is meant for it: what catalog and health tell of nodes and services.
fn is_discovery(read: &Read) -> bool {
    match read.spec().view() {
        Some(ViewRead::Catalog(_) | ViewRead::Health(_)) => true,
        Some(ViewRead::Coordinate(_)) | None => false,
    }
}

/// Whether the user has left open how fresh the answer must be.
fn is_plain(query: &Query) -> bool {
    let options = &query.options;
    options.consistency == Consistency::Default && options.max_stale.is_none() && options.cached.is_none()
}

/// Whether `ask` goes to another datacenter than `own`.
pub(super) fn crosses(own: &str, ask: &Ask) -> bool {
    is_elsewhere(own, wanted_dc(ask))
}

#[cfg(test)]
mod tests {
    use super::super::remote_stale::RemoteStale;
    use super::*;
    use crate::model::autopilot::AutopilotConfig;
    use crate::model::ids::NodeId;
    use crate::model::operation::{
        CatalogRead, CoordinateRead, Family, FederationRead, HealthRead, Lookup, OperatorRead, StatusRead,
    };
    use crate::model::query::CacheControl;
    use crate::model::request::Hops;

    fn settings() -> RouterSettings {
        RouterSettings {
            accept_operator_writes: false,
            node_name: "n1".into(),
            node_id: NodeId::default(),
            datacenter: "dc1".into(),
            rpc_hold: Duration::from_secs(7),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            discovery_max_stale: Duration::ZERO,
            use_cache: true,
            translate_wan_addrs: true,
            remote_stale: RemoteStale::None,
            remote_max_stale: Duration::ZERO,
            autopilot: AutopilotConfig::default(),
        }
    }

    fn query(read: Read, options: QueryOptions) -> Query {
        Query { read, options }
    }

    fn web() -> Read {
        Read::Catalog(CatalogRead::Service { name: "web".into(), lookup: Lookup::Plain })
    }

    #[test]
    fn the_own_datacenter_by_name_is_as_none_and_never_translated() {
        let options =
            QueryOptions { dc: Some("DC1".into()), near: Some("n1".into()), translate: true, ..QueryOptions::default() };
        let found = prepared(&settings(), query(web(), options)).options;
        assert_eq!((found.dc, found.near.as_deref(), found.translate), (None, Some("n1"), false));
    }

    #[test]
    fn another_datacenter_is_asked_without_near_and_with_translation_as_configured() {
        for translate_wan_addrs in [true, false] {
            let options = QueryOptions { dc: Some("dc2".into()), near: Some("n1".into()), ..QueryOptions::default() };
            let found = prepared(&RouterSettings { translate_wan_addrs, ..settings() }, query(web(), options)).options;
            assert_eq!((found.dc.as_deref(), found.near, found.translate), (Some("dc2"), None, translate_wan_addrs));
        }
    }

    #[test]
    fn discovery_max_stale_is_for_plain_reads_of_catalog_and_health_only() {
        let bound = Duration::from_secs(5);
        let settings = RouterSettings { discovery_max_stale: bound, ..settings() };
        let of = |read, options| {
            let found = prepared(&settings, query(read, options)).options;
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
        assert_eq!(prepared(&uncached, query(web(), cached)).options.max_stale, Some(bound));
    }

    #[test]
    fn a_max_stale_means_stale_and_zero_means_none() {
        let of = |seconds| {
            let options = QueryOptions { max_stale: Some(Duration::from_secs(seconds)), ..QueryOptions::default() };
            prepared(&settings(), query(web(), options)).options
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
            let found = prepared(&settings, query(read, QueryOptions { dc: Some(dc.to_owned()), ..options })).options;
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
            let entered = prepared(&settings, query(web(), options.clone())).options.max_stale;
            let request = Request { ask: Ask::Read(query(web(), options)), hops: Hops::default() };
            let Ask::Read(received) = received(&settings, request).ask else { panic!("it is a write") };
            assert_eq!(entered, received.options.max_stale, "here as for a client agent");
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
        (parked.options.min_index, parked.options.wait) = (7, Duration::from_secs(60));
        let rest = |took| instead_of_too_old(&parked, &answer, took).unwrap().options.wait;
        assert_eq!((rest(took), rest(Duration::from_secs(61))), (Duration::from_secs(51), LEAST_WAIT));
        let again = instead_of_too_old(&query, &answer, took).unwrap();
        assert_eq!((again.options.consistency, again.options.max_stale), (Consistency::Default, None));
        assert_eq!(instead_of_too_old(&again, &answer, took), None);
    }

    #[test]
    fn only_what_has_an_index_blocks() {
        let of = |read| {
            let options = QueryOptions { min_index: 5, wait: Duration::from_secs(9999), ..QueryOptions::default() };
            let found = prepared(&settings(), query(read, options)).options;
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
}
