//! From query string and headers to the options of a read, with Consul's error texts. An endpoint's options alone are
//! taken, so that equal questions stay equal for the caches.

use super::HttpSettings;
use super::error::ErrorResponse;
use super::parameters::{Parameters, parse_bool, parse_uint};
use crate::model::duration;
use crate::model::ids::Token;
use crate::model::operation::{Read, Takes};
use crate::model::principal::Principal;
use crate::model::query::{CacheControl, Consistency, Freshness, Identity, Query, Selection};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName};
use std::time::Duration;

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-consul-namespace");
const PARTITION: HeaderName = HeaderName::from_static("x-consul-partition");

/// `read` with its options.
pub(super) fn query(
    read: Read,
    parameters: &Parameters,
    headers: &HeaderMap,
    settings: &HttpSettings,
) -> Result<Query, ErrorResponse> {
    let dc = datacenter(parameters);
    let abroad = dc.as_ref().is_some_and(|dc| !dc.eq_ignore_ascii_case(&settings.datacenter));
    let (min_index, wait) = blocking(parameters)?;
    let spec = read.spec();
    let mut selection = Selection {
        near: near(parameters, settings).filter(|_| !abroad),
        translate: abroad && settings.translate_wan_addrs,
        node_meta: parameters.all("node-meta").map(pair).collect(),
        filter: parameters.filled("filter").map(str::to_owned),
        ..Selection::default()
    };
    if spec.takes != Takes::Common {
        selection.tags = parameters.all("tag").map(str::to_owned).collect();
    }
    if spec.takes == Takes::TagsAndPassing {
        selection.passing = flag(parameters, "passing")?;
    }
    // Every read of another datacenter may be cached.
    let takes_cached = abroad || spec.shared.cached;
    let mut freshness = Freshness { min_index, wait, ..freshness(takes_cached, parameters, headers)? };
    if abroad && parameters.has("leader") && freshness.consistency != Consistency::Consistent {
        // The strictest of contradicting options counts: another datacenter may be far behind.
        freshness = Freshness { cached: None, consistency: Consistency::Default, max_stale: Some(Duration::ZERO), ..freshness };
    }
    let principal = Principal::Token(token(parameters, headers));
    Ok(Query::of(Identity { read, dc, selection, principal }, freshness))
}

/// `dc`, or its long form, when given.
pub(super) fn datacenter(parameters: &Parameters) -> Option<String> {
    parameters.filled("dc").or_else(|| parameters.filled("datacenter")).map(str::to_owned)
}

/// The access token: `?token`, then `X-Consul-Token`, then `Authorization: Bearer`.
pub(super) fn token(parameters: &Parameters, headers: &HeaderMap) -> Token {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || {
        let mut words = header(AUTHORIZATION)?.split_whitespace();
        words.next().filter(|scheme| scheme.eq_ignore_ascii_case("bearer"))?;
        words.next()
    };
    let found = parameters.filled("token").or_else(|| header(TOKEN).filter(|text| !text.is_empty())).or_else(bearer);
    Token(found.unwrap_or("").to_owned())
}

/// Refuses the parameters of Consul Enterprise.
pub(super) fn refuse_namespaces(parameters: &Parameters, headers: &HeaderMap) -> Result<(), ErrorResponse> {
    for (names, header, shown, what) in [
        (&["ns", "namespace"], &NAMESPACE, "X-Consul-Namespace", "Namespaces"),
        (&["ap", "partition"], &PARTITION, "X-Consul-Partition", "Partitions"),
    ] {
        let parameter = names.iter().find(|name| parameters.filled(name).is_some());
        let place = match parameter {
            Some(name) => format!("query parameter: \"{name}\""),
            None if headers.get(header).is_some_and(|value| !value.is_empty()) => format!("header: \"{shown}\""),
            None => continue,
        };
        return Err(ErrorResponse::bad_request(format!("Bad request: Invalid {place} - {what} are a Consul Enterprise feature")));
    }
    Ok(())
}

/// `index` and `wait`.
fn blocking(parameters: &Parameters) -> Result<(u64, Duration), ErrorResponse> {
    let index = parameters.filled("index").map_or(Ok(0), parse_uint);
    let index = index.map_err(|_no_number| ErrorResponse::bad_request("Invalid index"))?;
    Ok((index, wait(parameters)?))
}

/// `wait`; zero for the default, and for a negative one as in Consul.
pub(super) fn wait(parameters: &Parameters) -> Result<Duration, ErrorResponse> {
    let Some(text) = parameters.filled("wait") else { return Ok(Duration::ZERO) };
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let wait = duration::parse(text).map_err(|_| ErrorResponse::bad_request("Invalid wait time"))?;
    Ok(if negative { Duration::ZERO } else { wait })
}

/// `stale`, `consistent`, `leader`, `cached`, `max_stale` and `Cache-Control`.
fn freshness(takes_cached: bool, parameters: &Parameters, headers: &HeaderMap) -> Result<Freshness, ErrorResponse> {
    let mut freshness = Freshness::default();
    let mut stale = parameters.has("stale");
    let consistent = parameters.has("consistent");
    let cached = parameters.has("cached");
    if let Some(text) = parameters.filled("max_stale") {
        let age = duration::parse(text);
        let age = age.map_err(|_| ErrorResponse::bad_request(format!("Invalid max_stale value {text:?}")))?;
        stale |= !age.is_zero();
        freshness.max_stale = Some(age);
    } else if parameters.has("leader") || (cached && !takes_cached) {
        // An explicit "not stale": `discovery_max_stale` applies only to reads that say nothing.
        freshness.max_stale = Some(Duration::ZERO);
    }
    if stale && consistent {
        return Err(stale_and_consistent());
    }
    if cached && consistent {
        return Err(ErrorResponse::bad_request("Cannot specify ?cached with ?consistent, conflicting semantics."));
    }
    freshness.consistency = match (stale, consistent) {
        (true, _) => Consistency::Stale,
        (_, true) => Consistency::Consistent,
        _ => Consistency::Default,
    };
    let control = cache_control(headers)?;
    freshness.cached = (cached && takes_cached).then_some(control);
    Ok(freshness)
}

/// Refuses modes that exclude each other, where none counts.
pub(super) fn conflicts(parameters: &Parameters) -> Result<(), ErrorResponse> {
    let both = parameters.has("stale") && parameters.has("consistent");
    if both { Err(stale_and_consistent()) } else { Ok(()) }
}

fn stale_and_consistent() -> ErrorResponse {
    ErrorResponse::bad_request("Cannot specify ?stale with ?consistent, conflicting semantics.")
}

/// `Cache-Control`, parsed.
fn cache_control(headers: &HeaderMap) -> Result<CacheControl, ErrorResponse> {
    let mut control = CacheControl::default();
    let Some(header) = headers.get(CACHE_CONTROL) else { return Ok(control) };
    let wrong = || ErrorResponse::bad_request("Invalid Cache-Control header.");
    let header = header.to_str().map_err(|_| wrong())?.to_ascii_lowercase();
    for directive in header.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = || value.trim().parse().map(Duration::from_secs).map_err(|_| wrong());
        match name.trim() {
            "must-revalidate" => control.must_revalidate = true,
            "max-age" => {
                let age = seconds()?;
                control.must_revalidate |= age.is_zero();
                control.max_age = Some(age);
            }
            "stale-if-error" => control.stale_if_error = Some(seconds()?),
            // Directives for other caches, such as `no-transform`.
            _ => {}
        }
    }
    Ok(control)
}

/// The parameter `name`, which has no value or a boolean.
pub(super) fn flag(parameters: &Parameters, name: &str) -> Result<bool, ErrorResponse> {
    match parameters.first(name) {
        None => Ok(false),
        Some("") => Ok(true),
        Some(text) => parse_bool(text).ok_or_else(|| ErrorResponse::bad_request(format!("Invalid value for ?{name}"))),
    }
}

/// `near`, with `_agent` resolved. `_ip` means something for prepared queries only.
fn near(parameters: &Parameters, settings: &HttpSettings) -> Option<String> {
    match parameters.filled("near")? {
        "_agent" => Some(settings.node_name.clone()),
        "_ip" => None,
        node => Some(node.to_owned()),
    }
}

/// `key:value`; without a colon the value is empty.
fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once(':').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::{CatalogRead, HealthRead, Lookup};
    use crate::model::query::testing::QueryOptions;

    fn settings() -> HttpSettings {
        let (node_name, datacenter) = ("here".to_owned(), "dc1".to_owned());
        HttpSettings { node_name, datacenter, translate_wan_addrs: true, ..HttpSettings::default() }
    }

    fn health() -> Read {
        Read::Health(HealthRead::Service { name: "web".to_owned(), lookup: Lookup::Plain })
    }

    fn options(read: &Read, query: &str, headers: &[(&'static str, &str)]) -> Result<QueryOptions, ErrorResponse> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        super::query(read.clone(), &Parameters::parse(Some(query)).unwrap(), &map, &settings()).map(QueryOptions::from)
    }

    #[test]
    fn what_is_wrong_has_consul_s_text() {
        for (query, text) in [
            ("index=x", "Invalid index"),
            ("index=-1", "Invalid index"),
            ("index=%2B1", "Invalid index"),
            ("index=99999999999999999999", "Invalid index"),
            ("wait=10", "Invalid wait time"),
            ("wait=soon", "Invalid wait time"),
            ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
            ("max_stale=1s&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
            ("cached=&consistent=", "Cannot specify ?cached with ?consistent, conflicting semantics."),
            ("max_stale=x", "Invalid max_stale value \"x\""),
            ("passing=maybe", "Invalid value for ?passing"),
        ] {
            assert_eq!(options(&health(), query, &[]), Err(ErrorResponse::bad_request(text)), "{query}");
        }
        let wrong = Err(ErrorResponse::bad_request("Invalid Cache-Control header."));
        assert_eq!(options(&health(), "", &[("cache-control", "max-age=soon")]), wrong);
    }

    #[test]
    fn flags_count_with_and_without_a_value() {
        for query in ["stale", "stale=", "stale=false", "max_stale=5s"] {
            assert_eq!(options(&health(), query, &[]).unwrap().consistency, Consistency::Stale, "{query}");
        }
        for (query, passing) in [("passing", true), ("passing=", true), ("passing=1", true), ("passing=false", false)] {
            assert_eq!(options(&health(), query, &[]).unwrap().passing, passing, "{query}");
        }
    }

    #[test]
    fn index_and_wait_are_read_as_go_reads_them() {
        let read = options(&health(), "index=18446744073709551615&wait=9.98s", &[]).unwrap();
        assert_eq!((read.min_index, read.wait), (u64::MAX, Duration::from_millis(9980)));
        assert_eq!(options(&health(), "index=&wait=-5s", &[]).unwrap(), QueryOptions::default());
    }

    #[test]
    fn cached_is_kept_only_where_it_is_honoured_and_never_turns_a_read_stale() {
        let read = options(&health(), "cached", &[("cache-control", "Max-Age=5, stale-if-error=60")]).unwrap();
        let (max_age, stale_if_error) = (Some(Duration::from_secs(5)), Some(Duration::from_secs(60)));
        assert_eq!(read.cached, Some(CacheControl { max_age, stale_if_error, must_revalidate: false }));
        assert!(options(&health(), "cached", &[("cache-control", "max-age=0")]).unwrap().cached.unwrap().must_revalidate);
        for (read, query) in [(Read::Catalog(CatalogRead::Nodes), "cached"), (health(), "leader")] {
            let read = options(&read, query, &[]).unwrap();
            assert_eq!((read.cached, read.max_stale), (None, Some(Duration::ZERO)));
        }
    }

    #[test]
    fn every_endpoint_takes_cached_of_another_datacenter_and_leader_refuses_it() {
        for dc in ["dc2", "*"] {
            let read = options(&Read::Catalog(CatalogRead::Nodes), &format!("dc={dc}&cached"), &[]).unwrap();
            assert_eq!((read.cached, read.max_stale), (Some(CacheControl::default()), None));
            for query in ["leader", "leader&cached", "leader&stale", "leader&max_stale=5s"] {
                let read = options(&health(), &format!("dc={dc}&{query}"), &[]).unwrap();
                let said = (read.cached, read.consistency, read.max_stale);
                assert_eq!(said, (None, Consistency::Default, Some(Duration::ZERO)), "{query}");
            }
        }
        assert_eq!(options(&Read::Catalog(CatalogRead::Nodes), "dc=DC1&cached", &[]).unwrap().cached, None, "the own datacenter");
        assert_eq!(options(&health(), "datacenter=dc2", &[]).unwrap().dc.as_deref(), Some("dc2"), "the long form");
        assert_eq!(options(&health(), "datacenter=dc2&dc=dc3", &[]).unwrap().dc.as_deref(), Some("dc3"));
        let both = options(&health(), "dc=dc2&leader&consistent", &[]).unwrap();
        assert_eq!(both.consistency, Consistency::Consistent);
    }

    #[test]
    fn near_is_resolved_here_and_dropped_for_another_datacenter() {
        let near = |query| options(&health(), query, &[]).unwrap().near;
        assert_eq!(near("near=_agent").as_deref(), Some("here"));
        assert_eq!(near("near=n2&dc=dc1").as_deref(), Some("n2"));
        assert_eq!(near("near=_ip"), None);
        assert_eq!(near("near=_agent&dc=dc2"), None);
        assert!(options(&health(), "dc=dc2", &[]).unwrap().translate);
        assert!(!options(&health(), "dc=dc1", &[]).unwrap().translate);
    }

    #[test]
    fn tags_and_passing_are_left_out_where_they_mean_nothing() {
        let read = options(&Read::Catalog(CatalogRead::Nodes), "tag=a&passing=junk&node-meta=k:v:w&node-meta=x", &[]).unwrap();
        assert!(read.tags.is_empty() && !read.passing);
        let pairs = [("k", "v:w"), ("x", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read.node_meta, pairs);
    }

    #[test]
    fn the_token_is_looked_for_in_consul_s_order() {
        let bearer = ("authorization", "bearer c d");
        let header = ("x-consul-token", "b");
        let token = |query, headers: &[_]| options(&health(), query, headers).unwrap().token.0;
        assert_eq!(token("token=a", &[header, bearer]), "a");
        assert_eq!(token("token=", &[header, bearer]), "b");
        assert_eq!(token("", &[bearer]), "c");
        assert_eq!(token("", &[("authorization", "Basic c")]), "");
    }

    #[test]
    fn namespaces_are_refused_wherever_they_are_named() {
        let refused = |query: &str| refuse_namespaces(&Parameters::parse(Some(query)).unwrap(), &HeaderMap::new());
        assert_eq!(refused("ns=&partition="), Ok(()));
        for (name, what) in [("ns", "Namespaces"), ("namespace", "Namespaces"), ("partition", "Partitions"), ("ap", "Partitions")]
        {
            let text = format!("Bad request: Invalid query parameter: \"{name}\" - {what} are a Consul Enterprise feature");
            assert_eq!(refused(&format!("{name}=x")), Err(ErrorResponse::bad_request(text)));
        }
        let header = HeaderMap::from_iter([(NAMESPACE, "x".parse().unwrap())]);
        let text = "Bad request: Invalid header: \"X-Consul-Namespace\" - Namespaces are a Consul Enterprise feature";
        assert_eq!(refuse_namespaces(&Parameters::default(), &header), Err(ErrorResponse::bad_request(text)));
    }
}
