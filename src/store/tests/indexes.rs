//! Indexes that move and watches that are called, and those that are not.

use super::*;

/// A change; true where it concerns the node with its services, and where its checks.
type Act = (fn(&mut Catalog) -> u64, bool, bool);

fn all_reads() -> impl Iterator<Item = Read> {
    reads_of_all_rows().into_iter().chain([health("absent"), in_state("passing")])
}

#[test]
fn what_changes_nothing_moves_no_index_and_wakes_nobody() {
    let mut catalog = Catalog::new();
    let full = Register { check: checked("n1", "c", "web", CheckStatus::Passing).check, ..instance("n1", "web", "web", &["v1"]) };
    catalog.register(full.clone());
    catalog.coordinate("n1", 1.0);
    let before: Vec<u64> = all_reads().map(|read| catalog.index_of(read)).collect();
    let watches: Vec<Watch> = all_reads().map(|read| catalog.watch(read)).collect();
    catalog.register(full.clone());
    catalog.coordinate("n1", 1.0);
    catalog.deregister("nobody", "", "");
    catalog.deregister("n1", "nothing", "");
    catalog.refusal(Register { service: instance("n1", "x", "", &[]).service, ..full });
    let after: Vec<u64> = all_reads().map(|read| catalog.index_of(read)).collect();
    assert_eq!(before, after);
    assert!(!watches.iter().any(woken));
}

#[test]
fn a_service_s_index_moves_with_its_instance_its_node_and_its_checks_and_with_nothing_else() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "web", "web", &[]));
    catalog.register(instance("n1", "db", "db", &[]));
    catalog.register(instance("n2", "other", "other", &[]));
    let changes: [fn(&mut Catalog) -> u64; 6] = [
        |catalog| catalog.register(instance("n1", "web", "web", &["v2"])),
        |catalog| catalog.register(Register { node_meta: pairs(&[("rack", "r1")]), ..node("n1") }),
        |catalog| catalog.register(checked("n1", "serfHealth", "", CheckStatus::Passing)),
        |catalog| catalog.register(checked("n1", "c", "web", CheckStatus::Passing)),
        |catalog| catalog.deregister("n1", "", "c"),
        |catalog| catalog.register(instance("n3", "web", "web", &[])),
    ];
    for (at, change) in changes.iter().enumerate() {
        let web = catalog.watch(health("web"));
        let other = catalog.watch(health("other"));
        let before = catalog.index_of(health("other"));
        let index = change(&mut catalog);
        assert_eq!(catalog.index_of(health("web")), index, "change {at}");
        assert_eq!(catalog.index_of(service("web")), index, "change {at}");
        assert!(woken(&web), "change {at}");
        assert_eq!(catalog.index_of(health("other")), before, "change {at}");
        assert!(!woken(&other), "change {at}");
    }
    let index = catalog.register(checked("n1", "disk", "", CheckStatus::Warning));
    assert_eq!(catalog.index_of(health("db")), index, "a check of the node is one of all its services");
}

#[test]
fn a_watcher_of_an_absent_service_hears_when_it_comes_and_when_another_goes() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "web", "web", &[]));
    let absent = catalog.watch(health("db"));
    let present = catalog.watch(health("web"));
    catalog.register(instance("n1", "x", "x", &[]));
    assert!(!woken(&absent), "another that comes is no news");
    let gone = catalog.deregister("n1", "x", "");
    assert!(woken(&absent));
    assert!(!woken(&present));
    assert_eq!(catalog.index_of(health("db")), gone);
    let later = catalog.register(instance("n1", "y", "y", &[]));
    assert!(later > gone);
    assert_eq!(catalog.index_of(health("db")), gone, "still the time of the last loss");
    let registered = catalog.register(instance("n1", "db", "db", &[]));
    assert!(woken(&absent));
    assert_eq!(catalog.index_of(health("db")), registered);
}

#[test]
fn a_service_that_goes_and_comes_back_never_shows_an_older_index() {
    let mut catalog = Catalog::new();
    let mut last = catalog.index_of(health("web"));
    for step in 0..6 {
        let watch = catalog.watch(health("web"));
        if step % 2 == 0 {
            catalog.register(instance("n1", "web", "web", &[]))
        } else {
            catalog.deregister("n1", "", "")
        };
        assert!(woken(&watch));
        let index = catalog.index_of(health("web"));
        assert!(index > last || step == 0, "{index} after {last}");
        last = index;
    }
}

#[test]
fn a_node_s_watchers_hear_of_its_services_or_of_its_checks_also_when_it_goes_and_comes() {
    let mut catalog = Catalog::new();
    let steps: [Act; 5] = [
        (|catalog| catalog.register(node("n1")), true, true),
        (|catalog| catalog.register(instance("n1", "web", "web", &[])), true, false),
        (|catalog| catalog.register(checked("n1", "c", "web", CheckStatus::Passing)), false, true),
        (|catalog| catalog.register(instance("n2", "web", "web", &[])), false, false),
        (|catalog| catalog.deregister("n1", "", ""), true, true),
    ];
    for (at, (change, services, checks)) in steps.iter().enumerate() {
        let (node, check) = (catalog.watch(of_node("n1")), catalog.watch(checks_of("n1")));
        let index = change(&mut catalog);
        assert_eq!((woken(&node), woken(&check)), (*services, *checks), "step {at}");
        assert_eq!(catalog.index_of(of_node("n1")) == index, *services, "step {at}");
        assert_eq!(catalog.index_of(checks_of("n1")) == index, *checks, "step {at}");
    }
}

#[test]
fn a_state_s_watchers_hear_of_checks_that_enter_stay_and_leave() {
    let mut catalog = Catalog::new();
    catalog.register(checked("n1", "c", "", CheckStatus::Passing));
    let watches = ["passing", "warning", "critical", "any"].map(|name| catalog.watch(in_state(name)));
    let index = catalog.register(checked("n1", "c", "", CheckStatus::Critical));
    assert_eq!(watches.each_ref().map(woken), [true, false, true, true]);
    assert_eq!(["passing", "critical", "ANY"].map(|name| catalog.index_of(in_state(name))), [index; 3]);
    assert!(catalog.index_of(in_state("warning")) < index);
}

#[test]
fn a_change_between_watch_and_read_is_either_read_or_heard() {
    let mut catalog = Catalog::new();
    let early = catalog.watch(health("web"));
    catalog.register(instance("n1", "web", "web", &[]));
    let late = catalog.watch(health("web"));
    assert_eq!(column(&catalog.get(health("web")), "/Node/Node"), ["n1"]);
    assert!(woken(&early) && !woken(&late));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_park_while_a_writer_is_at_work_all_see_its_last_word() {
    const WRITES: u64 = 500;
    let mut store = Store::new("dc1");
    let readers: Vec<_> = (0..8).map(|_| tokio::spawn(wait_for_tag(store.reader(), WRITES.to_string()))).collect();
    let writer = std::thread::spawn(move || {
        for index in 1..=WRITES {
            let request = instance("n1", "web", "web", &[&index.to_string()]);
            assert!(store.apply(index, &Command::Register(Box::new(request))).is_ok());
            store.publish();
        }
        store
    });
    for reader in readers {
        let done = tokio::time::timeout(std::time::Duration::from_secs(60), reader).await;
        done.expect("a reader was not woken").expect("a reader panicked");
    }
    drop(writer.join());
}

/// Reads and parks, as a blocking query does, until the service has `tag`.
async fn wait_for_tag(reader: Reader, tag: String) {
    let query = Query::new(service("web"), Principal::anonymous());
    loop {
        let watch = reader.watch(of_view(&query));
        let body = reader.read(of_view(&query)).expect("is answered").body;
        let rows: Value = serde_json::from_slice(&body).expect("is JSON");
        if rows.pointer("/0/ServiceTags/0").and_then(Value::as_str) == Some(tag.as_str()) {
            return;
        }
        watch.changed().await;
    }
}

#[test]
fn nothing_is_seen_or_heard_before_it_is_published() {
    let mut catalog = Catalog::new();
    let nodes = catalog.watch(Read::Catalog(CatalogRead::Nodes));
    for index in 1..=3 {
        assert!(catalog.store.apply(index, &Command::Register(Box::new(node(&format!("n{index}"))))).is_ok());
    }
    assert!(!woken(&nodes));
    assert_eq!(catalog.index_of(Read::Catalog(CatalogRead::Nodes)), 1);
    catalog.store.publish();
    assert!(woken(&nodes));
    assert!(!woken(&nodes), "one batch is one call");
    assert_eq!(catalog.index_of(Read::Catalog(CatalogRead::Nodes)), 3);
}

#[test]
fn a_watch_by_node_meta_hears_of_nodes_too() {
    let mut catalog = Catalog::new();
    catalog.register(instance("n1", "web", "web", &[]));
    let options = QueryOptions { node_meta: vec![("rack".to_owned(), "r1".to_owned())], ..QueryOptions::default() };
    let query = options.ask(Read::Catalog(CatalogRead::Services));
    let watch = catalog.reader.watch(of_view(&query));
    let index = catalog.register(Register { node_meta: pairs(&[("rack", "r1")]), ..node("n1") });
    assert!(woken(&watch));
    assert_eq!(catalog.reader.read(of_view(&query)).expect("is answered").index, index);
}

#[test]
fn a_restore_replaces_everything_and_wakes_every_watch() {
    let mut other = Catalog::new();
    other.register(instance("n9", "web", "web", &[]));
    let mut catalog = Catalog::new();
    catalog.register(node("n1"));
    let watches: Vec<Watch> = all_reads().map(|read| catalog.watch(read)).collect();
    catalog.store.restore(other.store.view().as_ref().clone());
    assert!(watches.iter().all(woken));
    assert_eq!(column(&catalog.nodes(), "/Node"), ["n9"]);
}

#[test]
fn a_view_restored_in_another_datacenter_carries_that_one_s_name() {
    let mut other = Catalog::new();
    other.register(Register { id: ID_1.to_owned(), ..instance("n9", "web", "web", &[]) });
    other.coordinate("n9", 1.0);
    let mut store = Store::new("dc2");
    store.restore(other.store.view().as_ref().clone());
    let moved = Catalog::of(store);
    assert_eq!(column(&moved.get(service("web")), "/Datacenter"), ["dc2"]);
    assert_eq!(moved.index_of(health("web")), other.index_of(health("web")));
    assert_eq!(column(&moved.coordinates(), "/Node"), ["n9"]);
    store = Store::new("dc3");
    store.restore(crate::store::View::default());
    let mut empty = Catalog::of(store);
    empty.register(node("n1"));
    assert_eq!(column(&empty.nodes(), "/Datacenter"), ["dc3"]);
}

#[test]
fn a_node_is_found_by_its_name_or_by_the_beginning_of_its_id() {
    let mut catalog = Catalog::new();
    let coming = catalog.watch(of_node(ID_1));
    catalog.register(Register { id: ID_1.to_owned(), ..node("n1") });
    assert!(woken(&coming), "a watch of an id hears of a node that comes with it");
    catalog.register(Register { id: ID_1.replace("40e4", "40ff"), ..node("n2") });
    catalog.register(node("40e4"));
    for (text, expected) in [
        (ID_1, json!("n1")),
        ("40E4A", json!("n1")),
        ("40f", json!("n2")),
        ("40e4", json!("40e4")),
        ("40", json!(null)),
        ("4", json!(null)),
        ("0f", json!(null)),
        ("%", json!(null)),
    ] {
        assert_eq!(catalog.get(of_node(text))["Node"]["Node"], expected, "{text}");
        let listed = catalog.get(services_of(text));
        assert_eq!(listed["Node"].get("Node").unwrap_or(&json!(null)), &expected, "{text}");
    }
    let found = catalog.watch(of_node("40f"));
    let written = catalog.register(instance("n2", "web1", "web", &[]));
    assert!(woken(&found));
    assert_eq!(catalog.index_of(of_node("40f")), written);
    catalog.deregister("n2", "", "");
    assert!(woken(&found));
    assert_eq!(catalog.get(of_node("40f")), json!(null));
}

#[test]
fn who_waits_for_the_beginning_of_an_id_hears_of_the_nodes_whose_id_begins_so_and_of_no_others() {
    let mut catalog = Catalog::new();
    let named = |catalog: &Catalog| catalog.get(of_node("40e"))["Node"]["Node"].clone();
    let absent = catalog.watch(of_node("40e"));
    catalog.register(Register { id: ID_2.to_owned(), ..node("n2") });
    assert!(!woken(&absent), "it has another id");
    catalog.register(Register { id: ID_1.to_owned(), ..node("n1") });
    assert!(woken(&absent) && named(&catalog) == "n1");
    let found = catalog.watch(of_node("40e"));
    catalog.register(Register { id: ID_1.to_owned(), node_meta: pairs(&[("rack", "r1")]), ..node("n1") });
    assert!(woken(&found), "the node itself has changed");
    catalog.register(Register { id: ID_1.replace("40e4", "40ef"), ..node("n3") });
    assert!(woken(&found) && named(&catalog) == json!(null), "it means two now");
    let ambiguous = catalog.watch(of_node("40e"));
    catalog.register(Register { id: ID_2.to_owned(), node_meta: pairs(&[("rack", "r1")]), ..node("n2") });
    assert!(!woken(&ambiguous));
    catalog.deregister("n1", "", "");
    assert!(woken(&ambiguous) && named(&catalog) == "n3");
    let found = catalog.watch(of_node("40e"));
    catalog.register(node("40e"));
    assert!(woken(&found) && named(&catalog) == "40e", "a name comes before an id");
}
