//! The options of reads: tags, metadata, distance, health, filters, addresses.

use super::*;
use crate::model::fault::FaultKind;
use crate::model::service::ServiceAddress;

fn options() -> QueryOptions {
    QueryOptions::default()
}

/// Three instances on three nodes.
fn three() -> Catalog {
    let mut catalog = Catalog::new();
    for (name, tags, rack) in [("n1", ["v1", "Blue"], "r1"), ("n2", ["v2", "blue"], "r1"), ("n3", ["v1", "red"], "r2")] {
        let node_meta = pairs(&[("rack", rack), ("os", "linux")]);
        catalog.register(Register { node_meta, ..instance(name, "web", "web", &tags) });
    }
    catalog
}

fn nodes(catalog: &Catalog, options: QueryOptions) -> Vec<String> {
    let flat = column(&catalog.json(service("web"), options.clone()), "/Node");
    let entries = column(&catalog.json(health("web"), options), "/Node/Node");
    assert_eq!(flat, entries, "both forms choose the same");
    flat
}

#[test]
fn every_tag_must_be_there_without_regard_to_case() {
    let catalog = three();
    let tags = |tags: &[&str]| QueryOptions { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..options() };
    assert_eq!(nodes(&catalog, tags(&["BLUE"])), ["n1", "n2"]);
    assert_eq!(nodes(&catalog, tags(&["blue", "V1"])), ["n1"]);
    assert!(nodes(&catalog, tags(&["blue", "red"])).is_empty());
}

#[test]
fn every_pair_of_node_meta_must_be_there() {
    let catalog = three();
    let meta = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        QueryOptions { node_meta: pairs.collect(), ..options() }
    };
    assert_eq!(nodes(&catalog, meta(&[("os", "linux"), ("rack", "r1")])), ["n1", "n2"]);
    assert_eq!(column(&catalog.json(Read::Catalog(CatalogRead::Nodes), meta(&[("rack", "r2")])), "/Node"), ["n3"]);
    assert!(nodes(&catalog, meta(&[("rack", "r1"), ("rack", "r2")])).is_empty());
}

#[test]
fn near_sorts_by_distance_with_unknown_places_last_and_is_nothing_without_a_source() {
    let mut catalog = three();
    let near = |name: &str| QueryOptions { near: Some(name.to_owned()), ..options() };
    assert_eq!(nodes(&catalog, near("n3")), ["n1", "n2", "n3"]);
    catalog.coordinate("n3", 0.0);
    catalog.coordinate("n2", 1.0);
    assert_eq!(nodes(&catalog, near("N3")), ["n3", "n2", "n1"]);
    assert_eq!(nodes(&catalog, near("n1")), ["n1", "n2", "n3"]);
    assert_eq!(column(&catalog.json(Read::Catalog(CatalogRead::Nodes), near("n2")), "/Node"), ["n2", "n3", "n1"]);
    for name in ["n1", "n2", "n3"] {
        catalog.register(checked(name, "c", "web", CheckStatus::Passing));
    }
    assert_eq!(column(&catalog.json(in_state("any"), near("n3")), "/Node"), ["n3", "n2", "n1"]);
}

#[test]
fn passing_leaves_out_every_instance_with_a_check_that_does_not_pass() {
    let mut catalog = three();
    let passing = || QueryOptions { passing: true, ..options() };
    assert_eq!(nodes(&catalog, passing()), ["n1", "n2", "n3"]);
    catalog.register(checked("n1", "serfHealth", "", CheckStatus::Critical));
    catalog.register(checked("n2", "c", "web", CheckStatus::Warning));
    catalog.register(checked("n3", "c", "web", CheckStatus::Passing));
    assert_eq!(nodes(&catalog, passing()), ["n3"]);
}

#[test]
fn a_filter_is_asked_of_each_kind_of_row() {
    let mut catalog = three();
    catalog.register(checked("n1", "c", "web", CheckStatus::Passing));
    let filter = |text: &str| QueryOptions { filter: Some(text.to_owned()), ..options() };
    for (read, text, pointer, expected) in [
        (Read::Catalog(CatalogRead::Nodes), "Meta.rack == r1 and Node != n1", "/Node", vec!["n2"]),
        (service("web"), "\"v1\" in ServiceTags and NodeMeta.rack == r2", "/Node", vec!["n3"]),
        (health("web"), "Checks.Status == passing", "/Node/Node", vec!["n1"]),
        (health("web"), "Service.Port == 80 and Node.Datacenter != dc1", "/Node/Node", vec![]),
        (checks_of("n1"), "Name is empty", "/CheckID", vec!["c"]),
        (Read::Health(HealthRead::Checks { service: "web".to_owned() }), "ServiceTags contains v2", "/CheckID", vec![]),
    ] {
        assert_eq!(column(&catalog.json(read, filter(text)), pointer), expected, "{text}");
    }
    catalog.register(instance("n1", "db", "db", &[]));
    let map = catalog.json(of_node("n1"), filter("Service == db"));
    assert_eq!(map["Services"].as_object().map(|services| services.keys().collect::<Vec<_>>()), Some(vec![&"db".to_owned()]));
    assert_eq!(map["Node"]["Node"], "n1");
}

#[test]
fn a_wrong_filter_is_the_user_s_mistake_even_where_there_is_no_row() {
    let catalog = Catalog::new();
    for read in [
        Read::Catalog(CatalogRead::Nodes),
        service("none"),
        health("none"),
        of_node("none"),
        services_of("none"),
        checks_of("none"),
        Read::Health(HealthRead::Checks { service: "none".to_owned() }),
        in_state("any"),
    ] {
        for text in ["Nonsense == 1", "Node =="] {
            let wrong = QueryOptions { filter: Some(text.to_owned()), ..options() };
            let fault = catalog.try_read(read.clone(), wrong).expect_err("must be refused");
            assert_eq!(fault.kind, FaultKind::BadRequest, "{read:?} {text}");
        }
    }
}

#[test]
fn addresses_are_translated_by_family_before_the_plain_wan_one() {
    for (tagged, expected) in [
        (pairs(&[("lan", "10.0.0.1"), ("wan", "1.1.1.1")]), "1.1.1.1"),
        (pairs(&[("wan", "1.1.1.1"), ("wan_ipv4", "2.2.2.2")]), "2.2.2.2"),
        (pairs(&[("wan_ipv6", "2001:db8::1"), ("wan_ipv4", "2.2.2.2")]), "2001:db8::1"),
        (pairs(&[("wan", "1.1.1.1"), ("lan_ipv4", "10.0.0.9")]), "10.0.0.9"),
        (pairs(&[("lan", "10.0.0.2")]), "10.0.0.1"),
        (None, "10.0.0.1"),
    ] {
        let mut catalog = Catalog::new();
        catalog.register(Register { tagged_addresses: tagged, ..node("n1") });
        let translate = QueryOptions { translate: true, ..options() };
        assert_eq!(column(&catalog.json(Read::Catalog(CatalogRead::Nodes), translate), "/Address"), [expected]);
    }
}

#[test]
fn translation_takes_the_port_of_wan_and_leaves_what_is_filtered_on_alone() {
    let mut catalog = Catalog::new();
    let mut request = Register { tagged_addresses: pairs(&[("wan", "1.1.1.1")]), ..instance("n1", "web", "web", &[]) };
    if let Some(service) = &mut request.service {
        let place = ServiceAddress { address: "9.9.9.9".to_owned(), port: 8443 };
        service.tagged_addresses.insert("wan".to_owned(), place);
    }
    catalog.register(request);
    let translate = || QueryOptions { translate: true, filter: Some("ServicePort == 80".to_owned()), ..options() };
    let row = &catalog.json(service("web"), translate())[0];
    let (node, address, port) = (&row["Address"], &row["ServiceAddress"], &row["ServicePort"]);
    assert_eq!((node, address, port), (&json!("1.1.1.1"), &json!("9.9.9.9"), &json!(8443)));
    let translate = QueryOptions { translate: true, ..options() };
    let row = &catalog.json(health("web"), translate.clone())[0];
    assert_eq!((&row["Node"]["Address"], &row["Service"]["Port"]), (&json!("1.1.1.1"), &json!(8443)));
    let map = catalog.json(of_node("n1"), translate);
    assert_eq!((&map["Node"]["Address"], &map["Services"]["web"]["Address"]), (&json!("1.1.1.1"), &json!("9.9.9.9")));
    assert_eq!(catalog.get(service("web"))[0]["Address"], "10.0.0.1", "the stored rows stay as they are");
}
