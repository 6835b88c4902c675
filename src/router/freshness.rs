//! The freshness that the answer of a read must have: decided once, where the read enters this agent. The identity is
//! made canonical too, so that equal questions share caches and feeds. Pure.

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

/// The read to do in place of one whose answer is older than its reader takes: in default mode, for the rest of its wait.
/// An answer of another datacenter is within the bound, or its server has said why.
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

/// The freshness of the own datacenter's part in an answer of all. That part is cached nowhere.
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

    const BOUND: Duration = Duration::from_secs(5);

    fn entered(settings: &RouterSettings, read: Read, options: QueryOptions) -> QueryOptions {
        prepared(settings, options.ask(read)).into()
    }

    /// The mode and the bound of a read that has entered.
    fn mode(settings: &RouterSettings, read: Read, options: QueryOptions) -> (Consistency, Option<Duration>) {
        let found = entered(settings, read, options);
        (found.consistency, found.max_stale)
    }

    fn web() -> Read {
        Read::Catalog(CatalogRead::Service { name: "web".into(), lookup: Lookup::Plain })
    }

    fn plain() -> QueryOptions {
        QueryOptions::default()
    }

    fn of_dc(dc: &str) -> QueryOptions {
        QueryOptions { dc: Some(dc.to_owned()), ..plain() }
    }

    fn stale(max_stale: Option<Duration>) -> QueryOptions {
        QueryOptions { consistency: Consistency::Stale, max_stale, ..plain() }
    }

    fn consistent() -> QueryOptions {
        QueryOptions { consistency: Consistency::Consistent, ..plain() }
    }

    fn cached() -> QueryOptions {
        QueryOptions { cached: Some(CacheControl::default()), ..plain() }
    }

    #[test]
    fn near_and_translation_mean_something_on_their_own_side_alone() {
        for (dc, translate, expected) in [("DC1", true, (None, Some("n1"), false)), ("dc2", false, (Some("dc2"), None, true))] {
            let options = QueryOptions { near: Some("n1".into()), translate, ..of_dc(dc) };
            let found = entered(&settings(), web(), options);
            assert_eq!((found.dc.as_deref(), found.near.as_deref(), found.translate), expected);
        }
        assert!(!entered(&RouterSettings { translate_wan_addrs: false, ..settings() }, web(), of_dc("dc2")).translate);
    }

    #[test]
    fn discovery_max_stale_is_for_plain_reads_of_catalog_and_health_only() {
        let settings = RouterSettings { discovery_max_stale: BOUND, ..settings() };
        for (read, options, expected) in [
            (web(), plain(), (Consistency::Stale, Some(BOUND))),
            (Read::Health(HealthRead::State { state: "any".into() }), plain(), (Consistency::Stale, Some(BOUND))),
            (Read::Coordinate(CoordinateRead::Nodes), plain(), (Consistency::Default, None)),
            (Read::Operator(OperatorRead::RaftConfiguration), plain(), (Consistency::Default, None)),
            (web(), consistent(), (Consistency::Consistent, None)),
            (web(), stale(None), (Consistency::Stale, None)),
            (web(), cached(), (Consistency::Default, None)),
        ] {
            assert_eq!(mode(&settings, read.clone(), options), expected, "{read:?}");
        }
        let uncached = RouterSettings { use_cache: false, ..settings };
        assert_eq!(entered(&uncached, web(), cached()).max_stale, Some(BOUND));
    }

    #[test]
    fn a_max_stale_means_stale_and_zero_means_none() {
        let of = |max_stale| mode(&settings(), web(), QueryOptions { max_stale: Some(max_stale), ..plain() });
        assert_eq!(of(BOUND), (Consistency::Stale, Some(BOUND)));
        assert_eq!(of(Duration::ZERO), (Consistency::Default, None));
    }

    #[test]
    fn what_says_nothing_is_stale_elsewhere_where_that_is_the_default() {
        let remote_stale = RemoteStale::Only([Family::Catalog].into());
        let settings = RouterSettings { remote_stale, discovery_max_stale: BOUND, ..settings() };
        let explicit = QueryOptions { max_stale: Some(Duration::ZERO), ..of_dc("dc2") };
        let discovered = (Consistency::Stale, Some(BOUND));
        for (read, options, expected, claim) in [
            (web(), of_dc("dc2"), (Consistency::Stale, None), "elsewhere"),
            (web(), of_dc("*"), (Consistency::Stale, None), "everywhere"),
            (web(), of_dc("dc1"), discovered, "the own datacenter is not meant"),
            (Read::Health(HealthRead::Node { node: "n".into() }), of_dc("dc2"), discovered, "nor is this family"),
            (Read::Status(StatusRead::Leader), of_dc("dc2"), (Consistency::Default, None), "nor that one"),
            (web(), QueryOptions { dc: Some("dc2".into()), ..consistent() }, (Consistency::Consistent, None), "consistent"),
            (web(), explicit, (Consistency::Default, None), "an explicit not stale"),
        ] {
            assert_eq!(mode(&settings, read, options), expected, "{claim}");
        }
    }

    #[test]
    fn the_operator_s_bound_is_on_what_may_be_stale_of_other_datacenters() {
        let settings = RouterSettings { remote_max_stale: BOUND, ..settings() };
        let there = |max_stale| QueryOptions { dc: Some("dc2".into()), ..stale(max_stale) };
        let (less, more) = (BOUND / 2, BOUND * 2);
        for (options, expected) in [
            (there(None), Some(BOUND)),
            (there(Some(more)), Some(BOUND)),
            (there(Some(less)), Some(less)),
            (stale(None), None),
            (of_dc("dc2"), None),
        ] {
            let request = Request { operation: Operation::Read(options.clone().ask(web())), hops: Hops::default() };
            let Operation::Read(received) = received(&settings, request).operation else { panic!("it is a write") };
            assert_eq!(received.freshness.max_stale, expected, "of a client agent");
            assert_eq!(entered(&settings, web(), options).max_stale, expected, "here");
        }
    }

    #[test]
    fn an_answer_that_is_too_old_is_asked_for_once_more_in_default_mode() {
        let mut query = stale(Some(BOUND)).ask(web());
        let mut answer = Answer::default();
        answer.meta.last_contact = BOUND;
        let took = Duration::from_secs(9);
        assert_eq!(instead_of_too_old(&query, &answer, took), None);
        answer.meta.last_contact += Duration::from_millis(1);
        let again = instead_of_too_old(&query, &answer, took).unwrap();
        assert_eq!((again.freshness.consistency, again.freshness.max_stale), (Consistency::Default, None));
        assert_eq!(instead_of_too_old(&again, &answer, took), None);
        (query.freshness.min_index, query.freshness.wait) = (7, Duration::from_secs(60));
        let rest = |took| instead_of_too_old(&query, &answer, took).unwrap().freshness.wait;
        assert_eq!((rest(took), rest(Duration::from_secs(61))), (Duration::from_secs(51), LEAST_WAIT));
        query.identity_mut().dc = Some("dc2".to_owned());
        assert_eq!(instead_of_too_old(&query, &answer, took), None, "its server has seen to that");
    }

    #[test]
    fn only_what_has_an_index_blocks() {
        let of = |read| {
            let found = entered(&settings(), read, QueryOptions { min_index: 5, wait: Duration::from_secs(9999), ..plain() });
            (found.min_index, found.wait)
        };
        assert_eq!(of(web()), (5, Duration::from_secs(600)));
        for read in [
            Read::Status(StatusRead::Leader),
            Read::Federation(FederationRead::Datacenters),
            Read::Operator(OperatorRead::AutopilotHealth),
        ] {
            assert_eq!(of(read).0, 0);
        }
    }

    #[test]
    fn cached_is_honoured_where_it_is_offered_and_for_the_own_datacenter() {
        let cached_of = |dc: &str| QueryOptions { dc: Some(dc.to_owned()), ..cached() };
        let ingress = Read::Health(HealthRead::Service { name: "web".into(), lookup: Lookup::Ingress });
        for (read, options, is_honoured) in [
            (web(), cached(), true),
            (web(), cached_of("dc1"), true),
            (Read::Federation(FederationRead::Datacenters), cached(), true),
            (Read::Catalog(CatalogRead::Services), cached(), true),
            (ingress, cached(), true),
            (web(), cached_of("dc2"), false),
            (web(), plain(), false),
            (Read::Catalog(CatalogRead::Nodes), cached(), false),
        ] {
            assert_eq!(is_cached(&settings(), &prepared(&settings(), options.ask(read.clone()))), is_honoured, "{read:?}");
        }
        let settings = RouterSettings { use_cache: false, ..settings() };
        assert!(!is_cached(&settings, &prepared(&settings, cached().ask(web()))));
    }

    #[test]
    fn caches_and_feeds_are_shared_but_for_what_changes_the_answer() {
        let identity = |options: QueryOptions| prepared(&settings(), options.ask(web())).identity;
        let other_way = QueryOptions {
            near: Some("n1".into()),
            cached: Some(CacheControl::default()),
            max_stale: Some(BOUND),
            min_index: 7,
            wait: BOUND,
            ..of_dc("DC2")
        };
        assert_eq!(identity(other_way), identity(of_dc("dc2")));
        for other in [QueryOptions { token: Token("secret".into()), ..of_dc("dc2") }, of_dc("dc3")] {
            assert_ne!(identity(other), identity(of_dc("dc2")));
        }
    }

    #[test]
    fn families_are_told_apart() {
        let only = RemoteStale::Only(BTreeSet::from([Family::Health]));
        let state = Read::Health(HealthRead::State { state: "any".into() });
        assert!(only.covers(&state) && !only.covers(&Read::Catalog(CatalogRead::Nodes)));
        assert!(RemoteStale::All.covers(&Read::Status(StatusRead::Leader)) && !RemoteStale::default().covers(&state));
    }
}
