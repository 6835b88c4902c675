//! The shapes of answers.

use super::*;
use crate::model::service::ServiceAddress;
use crate::store::authorizer::Authorizer;

fn body(catalog: &Catalog, read: Read) -> String {
    let rendered = catalog.try_read(read, QueryOptions::default()).expect("is answered");
    String::from_utf8(rendered.body.to_vec()).expect("is UTF-8")
}

#[test]
fn every_row_is_asked_about() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "web1", "web", &["v1"]));
    catalog.register(checked("n1", "c1", "web1", CheckStatus::Critical));
    catalog.register(checked("n1", "c2", "", CheckStatus::Critical));
    catalog.coordinate("n1", 0.1);
    let (view, nobody) = (catalog.store.view(), Principal::anonymous());
    for read in reads_of_all_rows() {
        let query = Query::new(read.clone(), nobody.clone());
        let blind = view.find_by(of_view(&query), Authorizer::without_rights(&nobody), 0).expect("is answered").render();
        let (seen, of_nobody) = (body(&catalog, read.clone()), String::from_utf8_lossy(&blind.body));
        assert!(seen.contains("n1") || seen.contains("web"), "{read:?}: {seen}");
        assert!(!of_nobody.contains("n1") && !of_nobody.contains("web"), "{read:?}: {of_nobody}");
    }
}

#[test]
fn what_is_not_there_is_null_or_an_empty_list_as_clients_expect_it() {
    let catalog = Catalog::new();
    let nobody = || "nobody".to_owned();
    for (read, expected) in [
        (Read::Catalog(CatalogRead::Nodes), "[]"),
        (Read::Catalog(CatalogRead::Services), "{}"),
        (service("nobody"), "[]"),
        (health("nobody"), "[]"),
        (Read::Health(HealthRead::Service { name: nobody(), lookup: Lookup::Connect }), "[]"),
        (Read::Health(HealthRead::Service { name: nobody(), lookup: Lookup::Ingress }), "[]"),
        (of_node("nobody"), "null"),
        (services_of("nobody"), r#"{"Node":null,"Services":[]}"#),
        (Read::Catalog(CatalogRead::GatewayServices { gateway: nobody() }), "null"),
        (checks_of("nobody"), "[]"),
        (Read::Health(HealthRead::Checks { service: nobody() }), "[]"),
        (in_state("any"), "[]"),
        (Read::Coordinate(CoordinateRead::Nodes), "[]"),
    ] {
        assert_eq!(body(&catalog, read.clone()), expected, "{read:?}");
        assert_eq!(catalog.index_of(read), 1, "an index is never 0");
    }
}

#[test]
fn a_row_of_a_service_has_consul_s_fields_in_consul_s_order() {
    let mut catalog = Catalog::new();
    catalog.register(Register { id: ID_1.to_owned(), tagged_addresses: pairs(&[("lan", "10.0.0.1")]), ..node("n1") });
    let mut request = instance("n1", "web1", "web", &["v1"]);
    request.skip_node_update = true;
    catalog.register(request.clone());
    let expected = format!(
        r#"[{{"ID":"{ID_1}","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":{{"lan":"10.0.0.1"}},"NodeMeta":null,"ServiceKind":"","ServiceID":"web1","ServiceName":"web","ServiceTags":["v1"],"ServiceAddress":"","ServiceWeights":{{"Passing":1,"Warning":1}},"ServiceMeta":{{}},"ServicePort":80,"ServiceSocketPath":"","ServiceEnableTagOverride":false,"ServiceProxy":{{"Expose":{{}},"MeshGateway":{{}},"Mode":""}},"ServiceConnect":{{}},"CreateIndex":2,"ModifyIndex":2}}]"#
    );
    assert_eq!(body(&catalog, service("web")), expected);
    let place = ServiceAddress { address: "1.2.3.4".to_owned(), port: 81 };
    request.service.as_mut().expect("is there").tagged_addresses.insert("wan".to_owned(), place);
    catalog.register(request);
    let rows = catalog.get(service("web"));
    assert_eq!(rows[0]["ServiceTaggedAddresses"], json!({"wan": {"Address": "1.2.3.4", "Port": 81}}));
}

#[test]
fn a_health_entry_has_the_node_s_checks_and_the_instance_s_own() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "web1", "web", &[]));
    catalog.register(instance("n1", "web2", "web", &[]));
    catalog.register(checked("n1", "serfHealth", "", CheckStatus::Passing));
    catalog.register(checked("n1", "a1", "web1", CheckStatus::Warning));
    catalog.register(checked("n1", "a2", "web2", CheckStatus::Passing));
    let rows = catalog.get(health("web"));
    assert_eq!(column(&rows, "/Service/ID"), ["web1", "web2"]);
    assert_eq!(column(&rows[0]["Checks"], "/CheckID"), ["serfHealth", "a1"]);
    assert_eq!(column(&rows[1]["Checks"], "/CheckID"), ["serfHealth", "a2"]);
    let keys: Vec<&String> = rows[0].as_object().expect("is an object").keys().collect();
    assert_eq!(keys.len(), 3);
    let of_service = catalog.get(Read::Health(HealthRead::Checks { service: "web".to_owned() }));
    assert_eq!(column(&of_service, "/CheckID"), ["a1", "a2"]);
}

#[test]
fn a_node_is_shown_with_its_services_as_a_map_and_as_a_list() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "b\"1", "web", &["v1"]));
    catalog.register(instance("n1", "a", "db", &[]));
    let map = catalog.get(of_node("N1"));
    assert_eq!(map["Node"]["Node"], "n1");
    assert_eq!(map["Services"]["b\"1"]["Service"], "web");
    let list = catalog.get(services_of("n1"));
    assert_eq!(column(&list["Services"], "/ID"), ["a", "b\"1"]);
    assert_eq!(list["Node"], map["Node"]);
}

#[test]
fn services_are_listed_with_the_sorted_union_of_their_tags() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "a", "web", &["v2", "blue"]));
    catalog.register(Register { node_meta: pairs(&[("rack", "r1")]), ..instance("n2", "a", "web", &["v1", "blue"]) });
    catalog.register(instance("n3", "a", "db", &[]));
    assert_eq!(body(&catalog, Read::Catalog(CatalogRead::Services)), r#"{"db":[],"web":["blue","v1","v2"]}"#);
    let options = QueryOptions { node_meta: vec![("rack".to_owned(), "r1".to_owned())], ..QueryOptions::default() };
    assert_eq!(catalog.json(Read::Catalog(CatalogRead::Services), options), json!({"web": ["blue", "v1"]}));
}

#[test]
fn the_states_are_known_without_regard_to_case_and_no_check_is_in_another() {
    let mut catalog = Catalog::new();
    catalog.register(checked("n1", "a", "", CheckStatus::Passing));
    catalog.register(checked("n1", "b", "", CheckStatus::Critical));
    for (state, expected) in
        [("ANY", vec!["a", "b"]), ("any", vec!["a", "b"]), ("Critical", vec!["b"]), ("warning", vec![]), ("dead", vec![])]
    {
        assert_eq!(column(&catalog.get(in_state(state)), "/CheckID"), expected, "{state}");
    }
}

#[test]
fn a_mesh_lookup_finds_sidecars_of_the_name_and_native_instances() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "web", "web", &[]));
    let mut sidecar = instance("n1", "web-sidecar", "web-sidecar-proxy", &[]);
    if let Some(service) = &mut sidecar.service {
        service.kind = "connect-proxy".to_owned();
        service.proxy = json!({"DestinationServiceName": "Web"});
    }
    catalog.register(sidecar);
    let mut native = instance("n2", "web-native", "web", &[]);
    if let Some(service) = &mut native.service {
        service.connect = json!({"Native": true});
    }
    catalog.register(native);
    let mesh = || Read::Health(HealthRead::Service { name: "web".to_owned(), lookup: Lookup::Connect });
    assert_eq!(column(&catalog.get(mesh()), "/Service/ID"), ["web-sidecar", "web-native"]);
    let flat = Read::Catalog(CatalogRead::Service { name: "web".to_owned(), lookup: Lookup::Connect });
    assert_eq!(column(&catalog.get(flat), "/ServiceID"), ["web-sidecar", "web-native"]);
    catalog.deregister("n1", "web-sidecar", "");
    assert_eq!(column(&catalog.get(mesh()), "/Service/ID"), ["web-native"]);
}

#[test]
fn an_answer_kept_from_an_earlier_read_is_not_given_after_a_change() {
    let mut catalog = Catalog::new();
    for id in ["a", "b", "c"] {
        catalog.register(instance("n1", id, "web", &[]));
        let first = catalog.get(health("web"));
        assert_eq!(catalog.get(health("web")), first);
        catalog.get(service("web"));
        catalog.get(Read::Catalog(CatalogRead::Services));
    }
    catalog.register(checked("n1", "disk", "", CheckStatus::Critical));
    assert_eq!(column(&catalog.get(health("web")), "/Checks/0/Status"), ["critical"; 3]);
    assert_eq!(column(&catalog.get(service("web")), "/ServiceID"), ["a", "b", "c"]);
}
