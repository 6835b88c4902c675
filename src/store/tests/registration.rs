//! Registrations and deregistrations: their effects and their refusals.

use super::*;
use crate::defaults::COMMAND_BYTES;

#[test]
fn an_id_defaults_to_the_name_and_a_check_takes_name_and_tags_from_its_service() {
    let mut catalog = Catalog::new();
    let mut request = instance("n1", "", "web", &["v1"]);
    request.check = Some(HealthCheck { name: "alive".to_owned(), service_id: "web".to_owned(), ..HealthCheck::default() });
    catalog.register(request);
    let rows = catalog.get(health("web"));
    assert_eq!(rows[0]["Service"]["ID"], "web");
    let check = &rows[0]["Checks"][0];
    assert_eq!(check["CheckID"], "alive");
    assert_eq!(check["Status"], "critical");
    assert_eq!((&check["ServiceName"], &check["ServiceTags"], &check["Node"]), (&json!("web"), &json!(["v1"]), &json!("n1")));
}

#[test]
fn a_registration_is_done_whole_or_not_at_all() {
    let mut catalog = Catalog::new();
    let mut request = instance("n1", "web", "web", &[]);
    request.checks = vec![HealthCheck { name: "c".to_owned(), service_id: "other".to_owned(), ..HealthCheck::default() }];
    assert_eq!(catalog.refusal(request), "Missing service registration");
    assert_eq!(catalog.nodes(), json!([]));
    assert_eq!(catalog.get(service("web")), json!([]));
}

#[test]
fn what_does_not_fit_is_refused_with_consul_s_text() {
    let mut catalog = Catalog::new();
    let mut foreign = node("n1");
    foreign.check = Some(HealthCheck { node: "n2".to_owned(), name: "c".to_owned(), ..HealthCheck::default() });
    assert_eq!(catalog.refusal(foreign), "check node \"n2\" does not match node \"n1\"");
    assert_eq!(catalog.refusal(Register { node: String::new(), ..node("n1") }), "Must provide node");
}

#[test]
fn unchanged_content_keeps_its_indexes_and_changed_content_its_create_index() {
    let mut catalog = Catalog::new();
    let first = catalog.register(instance("n1", "web", "web", &["v1"]));
    catalog.register(checked("n1", "c", "web", CheckStatus::Passing));
    let before = catalog.get(health("web"));
    catalog.register(instance("n1", "web", "web", &["v1"]));
    catalog.register(checked("n1", "c", "web", CheckStatus::Passing));
    assert_eq!(catalog.get(health("web")), before);
    let changed = catalog.register(instance("n1", "web", "web", &["v2"]));
    let row = &catalog.get(health("web"))[0];
    assert_eq!((&row["Service"]["CreateIndex"], &row["Service"]["ModifyIndex"]), (&json!(first), &json!(changed)));
    assert_eq!(row["Node"]["ModifyIndex"], first);
    assert_eq!(row["Checks"][0]["ServiceTags"], json!(["v2"]), "a check follows its service");
}

#[test]
fn an_instance_that_changes_its_name_moves_and_takes_its_checks_along() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "a", "old", &[]));
    catalog.register(checked("n1", "c", "a", CheckStatus::Passing));
    catalog.register(instance("n1", "a", "new", &[]));
    assert_eq!(catalog.get(service("old")), json!([]));
    assert_eq!(catalog.get(health("new"))[0]["Checks"][0]["ServiceName"], "new");
    assert_eq!(catalog.get(Read::Catalog(CatalogRead::Services)), json!({"new": []}));
}

#[test]
fn skip_node_update_leaves_the_node_and_a_missing_id_does_not_take_it_away() {
    let mut catalog = Catalog::new();
    catalog.register(Register { id: ID_1.to_owned(), node_meta: pairs(&[("rack", "r1")]), ..node("n1") });
    let before = catalog.nodes();
    catalog.register(Register { address: "10.9.9.9".to_owned(), skip_node_update: true, ..instance("n1", "web", "web", &[]) });
    assert_eq!(catalog.nodes(), before);
    catalog.register(Register { address: "10.9.9.9".to_owned(), ..node("n1") });
    let row = &catalog.nodes()[0];
    assert_eq!((&row["ID"], &row["Address"]), (&json!(ID_1), &json!("10.9.9.9")));
}

#[test]
fn a_node_that_is_not_there_is_made_whatever_is_to_be_skipped() {
    let mut catalog = Catalog::new();
    let index = catalog.register(Register { skip_node_update: true, ..instance("n1", "web", "web", &[]) });
    let homeless = Register { address: String::new(), skip_node_update: true, ..instance("n2", "web", "web", &[]) };
    catalog.register(Register { id: ID_2.to_owned(), ..homeless.clone() });
    let rows = catalog.nodes();
    assert_eq!(column(&rows, "/Node"), ["n1", "n2"]);
    assert_eq!((&rows[0]["Address"], &rows[1]["Address"], &rows[1]["ID"]), (&json!("10.0.0.1"), &json!(""), &json!(ID_2)));
    assert_eq!(rows[0]["CreateIndex"], index);
    assert_eq!(column(&catalog.get(service("web")), "/Node"), ["n1", "n2"]);
    catalog.register(Register { node_meta: pairs(&[("a", "b")]), ..homeless });
    assert_eq!(catalog.nodes(), rows, "now it is there, and is left alone");
}

#[test]
fn weights_that_nobody_has_set_are_one_and_a_check_has_the_type_of_its_definition() {
    let mut catalog = Catalog::new();
    let mut request = instance("n1", "web", "web", &[]);
    if let Some(service) = &mut request.service {
        service.weights = Some(Weights::UNSET);
    }
    let check = |name: &str, kind: &str, definition| HealthCheck {
        name: name.to_owned(),
        kind: kind.to_owned(),
        definition,
        ..HealthCheck::default()
    };
    let to = || "10.0.0.1:80".to_owned();
    request.checks = vec![
        check("http", "", CheckDefinition { http: to(), tcp: to(), ..CheckDefinition::default() }),
        check("mine", "external", CheckDefinition { tcp: to(), ..CheckDefinition::default() }),
        check("none", "", CheckDefinition::default()),
        check("os", "", CheckDefinition { os_service: to(), ..CheckDefinition::default() }),
        check("tcp", "", CheckDefinition { tcp: to(), tcp_use_tls: true, ..CheckDefinition::default() }),
    ];
    catalog.register(request);
    assert_eq!(catalog.get(health("web"))[0]["Service"]["Weights"], json!({"Passing": 1, "Warning": 1}));
    let checks = catalog.get(checks_of("n1"));
    assert_eq!(column(&checks, "/Type"), ["http", "external", "", "os_service", "tcp"]);
    assert_eq!(checks[4]["Definition"], json!({"TCP": "10.0.0.1:80", "TCPUseTLS": true}));
    assert_eq!(checks[4]["ExposedPort"], 0);
}

#[test]
fn the_same_id_under_a_new_name_is_a_rename() {
    let mut catalog = Catalog::new();
    let first = catalog.register(Register { id: ID_1.to_owned(), ..instance("old", "web", "web", &[]) });
    catalog.coordinate("old", 1.0);
    let renamed = catalog.register(Register { id: ID_1.to_uppercase(), ..node("new") });
    let rows = catalog.nodes();
    assert_eq!(column(&rows, "/Node"), ["new"]);
    assert_eq!((&rows[0]["CreateIndex"], &rows[0]["ModifyIndex"]), (&json!(first), &json!(renamed)));
    assert_eq!(catalog.get(service("web")), json!([]));
    assert_eq!(catalog.coordinates(), json!([]));
    catalog.register(Register { id: ID_2.to_owned(), ..node("old") });
    assert_eq!(column(&catalog.nodes(), "/Node"), ["new", "old"]);
}

#[test]
fn a_name_written_otherwise_is_the_same_node() {
    let mut catalog = Catalog::new();
    catalog.register(Register { id: ID_1.to_owned(), ..instance("Node-A", "web", "web", &[]) });
    catalog.register(checked("node-a", "c", "web", CheckStatus::Passing));
    let rows = catalog.get(health("WEB"));
    assert_eq!(column(&rows, "/Node/Node"), ["Node-A"]);
    assert_eq!(column(&rows, "/Checks/0/Node"), ["Node-A"]);
    catalog.register(Register { id: ID_1.to_owned(), ..node("NODE-A") });
    let rows = catalog.get(health("web"));
    assert_eq!(column(&rows, "/Node/Node"), ["NODE-A"]);
    assert_eq!(column(&rows, "/Checks/0/Node"), ["NODE-A"]);
}

#[test]
fn a_name_is_reserved_for_its_id_as_long_as_its_serf_health_is_not_critical() {
    let mut catalog = Catalog::new();
    let serf_health = |id: &str, status| Register { id: id.to_owned(), ..checked("Web1", "serfHealth", "", status) };
    catalog.register(serf_health(ID_1, CheckStatus::Passing));
    let newcomer = Register { id: ID_2.to_owned(), ..node("web1") };
    let expected = format!("Node name web1 is reserved by node {ID_1} with name Web1 (10.0.0.1)");
    assert_eq!(catalog.refusal(newcomer.clone()), expected);
    catalog.register(serf_health(ID_1, CheckStatus::Critical));
    catalog.register(newcomer);
    let rows = catalog.nodes();
    assert_eq!((&rows[0]["ID"], &rows[0]["Node"]), (&json!(ID_2), &json!("web1")));
    catalog.register(Register { id: ID_1.to_owned(), ..node("elsewhere") });
}

#[test]
fn a_node_without_an_id_may_be_given_one_but_not_by_a_rename() {
    let mut catalog = Catalog::new();
    catalog.register(checked("n1", "serfHealth", "", CheckStatus::Passing));
    catalog.register(Register { id: ID_2.to_owned(), ..node("n2") });
    let text = catalog.refusal(Register { id: ID_2.to_owned(), ..node("n1") });
    assert!(text.starts_with("Node name n1 is reserved by node "), "{text}");
    catalog.register(Register { id: ID_1.to_owned(), ..node("n1") });
    assert_eq!(catalog.nodes()[0]["ID"], ID_1);
}

#[test]
fn deregistering_takes_the_service_before_the_check_before_the_node() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "web", "web", &[]));
    catalog.register(checked("n1", "web-alive", "web", CheckStatus::Passing));
    catalog.register(checked("n1", "disk", "", CheckStatus::Passing));
    catalog.register(instance("n1", "db", "db", &[]));
    catalog.coordinate("n1", 1.0);
    catalog.deregister("N1", "web", "disk");
    let checks = catalog.get(checks_of("n1"));
    assert_eq!(column(&checks, "/CheckID"), ["disk"], "the service took its check along");
    catalog.deregister("n1", "", "disk");
    assert_eq!(catalog.get(checks_of("n1")), json!([]));
    assert_eq!(column(&catalog.get(service("db")), "/Node"), ["n1"]);
    catalog.deregister("n1", "", "");
    for read in [Read::Catalog(CatalogRead::Nodes), service("db"), Read::Coordinate(CoordinateRead::Nodes)] {
        assert_eq!(catalog.get(read), json!([]));
    }
    for (service_id, check_id) in [("web", ""), ("", "disk"), ("", "")] {
        catalog.deregister("n1", service_id, check_id);
    }
}

#[test]
fn each_command_of_a_batch_stands_for_itself_and_the_first_refusal_is_told() {
    let mut catalog = Catalog::new();
    let wrong = |name: &str| Register { address: String::new(), ..node(name) };
    let commands = [node("n1"), wrong("n2"), Register { id: "x".to_owned(), ..node("n3") }, node("n4")];
    let batch = commands.into_iter().map(|request| Command::Register(Box::new(request))).collect();
    assert_eq!(catalog.refused(Command::Batch(batch)).message, "Must provide address if SkipNodeUpdate is not set");
    assert_eq!(column(&catalog.nodes(), "/Node"), ["n1", "n4"]);
    assert!(catalog.try_apply(Command::Batch(vec![Command::Batch(Vec::new())])).is_err());
}

#[test]
fn coordinates_of_unknown_nodes_and_broken_ones_are_passed_over() {
    let mut catalog = Catalog::new();
    catalog.register(node("n1"));
    catalog.coordinate("nobody", 1.0);
    catalog.coordinate("n1", f64::NAN);
    assert_eq!(catalog.coordinates(), json!([]));
    let read = |catalog: &Catalog| catalog.try_read(coordinate_of("n1"), QueryOptions::default()).expect("answered");
    let rendered = read(&catalog);
    assert!(rendered.found == Found::No && rendered.index >= 1);
    let index = catalog.coordinate("N1", 1.5);
    catalog.coordinate("n1", 1.5);
    let rendered = read(&catalog);
    assert!(rendered.found == Found::Yes && rendered.index == index, "the same place again is no change");
    assert_eq!(column(&catalog.coordinates(), "/Node"), ["n1"]);
}

#[test]
fn copies_of_tags_are_bounded_over_several_registrations() {
    let mut catalog = Catalog::new();
    let tags = |bytes: usize| instance("n1", "web", "web", &["t".repeat(bytes).as_str()]);
    let check = |number: usize| checked("n1", &format!("c{number}"), "web", CheckStatus::Passing);
    catalog.register(tags(COMMAND_BYTES / 10));
    for number in 0..9 {
        catalog.register(check(number));
    }
    let before = catalog.get(health("web"));
    assert!(catalog.refusal(check(9)).contains("register fewer checks or tags"));
    assert!(catalog.refusal(tags(COMMAND_BYTES / 9)).contains("register fewer checks or tags"));
    assert_eq!(catalog.get(health("web")), before, "nothing of it was done");
    catalog.register(instance("n1", "other", "other", &[]));
    catalog.register(checked("n1", "moves", "other", CheckStatus::Passing));
    assert!(catalog.refusal(checked("n1", "moves", "web", CheckStatus::Passing)).contains("register fewer checks"));
    catalog.register(checked("n1", "c0", "web", CheckStatus::Critical));
    catalog.register(tags(COMMAND_BYTES / 20));
    catalog.register(check(9));
}
