//! Tests of filter expressions: matches, refusals, bounds.

use super::Filter;
use proptest::prelude::*;
use serde_json::{Value, json};

fn row() -> Value {
    json!({
        "Node": {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1", "Meta": {"env": "prod", "consul-rack": "r7"},
                 "TaggedAddresses": null, "CreateIndex": 5, "ModifyIndex": 6},
        "Service": {"ID": "web-1", "Service": "web", "Tags": ["v1", "blue"], "Address": "", "Meta": null, "Port": 8080,
                    "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Proxy": {"Expose": {}}, "Connect": {}},
        "Checks": [
            {"CheckID": "serfHealth", "Status": "passing", "ServiceTags": [], "Definition": {}},
            {"CheckID": "service:web-1", "Status": "warning", "ServiceTags": ["v1"], "Definition": {}},
        ],
        "Load": 0.5,
        "Empty": [],
    })
}

fn ask(text: &str) -> Result<bool, String> {
    Filter::parse(text)?.matches(&row())
}

#[test]
fn every_operator_matches_and_its_contrary_does_not() {
    for (text, expected) in [
        ("Service.Service == web", true),
        ("Service.Service==\"web\"", true),
        ("Service.Service != web", false),
        ("Service.ID == `web-1`", true),
        ("Service.Port == 8080", true),
        ("Service.Port == \"8080\"", true),
        ("Service.Port != 81", true),
        ("Load == 0.5", true),
        ("Service.EnableTagOverride == false", true),
        ("Service.EnableTagOverride == T", false),
        ("v1 in Service.Tags", true),
        ("\"green\" in Service.Tags", false),
        ("green not in Service.Tags", true),
        ("Service.Tags contains blue", true),
        ("Service.Tags not contains blue", false),
        ("0.0 in Node.Address", true),
        ("Node.Meta contains env", true),
        ("env in Node.Meta", true),
        ("Node.Meta.env == prod", true),
        ("Node.Meta[\"consul-rack\"] == r7", true),
        ("Node.Address matches \"^10\\\\.\"", true),
        ("Node.Address matches `^10\\.0`", true),
        ("Node.Address not matches `^11`", true),
        ("Service.Address is empty", true),
        ("Service.Tags is not empty", true),
        ("Empty is empty", true),
        ("Checks.Status == warning", true),
        ("Checks.Status == critical", false),
        ("Checks.Status != passing", true),
        ("v1 in Checks.ServiceTags", true),
    ] {
        assert_eq!(ask(text), Ok(expected), "{text}");
    }
}

#[test]
fn not_binds_tighter_than_and_and_that_tighter_than_or() {
    let (yes, no) = ("Service.Port == 8080", "Service.Port == 1");
    for (text, expected) in [
        (format!("{yes} or {yes} and {no}"), true),
        (format!("({yes} or {yes}) and {no}"), false),
        (format!("not {no} and {yes}"), true),
        (format!("not ({no} or {yes})"), false),
        (format!("not {yes} or {yes}"), true),
        (format!("not not {yes}"), true),
        (format!("{no} or {no} or {yes}"), true),
        (format!("{yes} and {yes} and not {no}"), true),
    ] {
        assert_eq!(ask(&text), Ok(expected), "{text}");
    }
}

#[test]
fn a_key_that_is_not_in_a_free_map_is_no_match_and_no_mistake() {
    for (text, expected) in [
        ("Node.Meta.rack == r7", false),
        ("Node.Meta.rack != r7", true),
        ("Node.Meta.rack is empty", true),
        ("Node.Meta.rack is not empty", false),
        ("r7 in Node.Meta.rack", false),
        ("Node.Meta.rack matches `.*`", false),
        ("Service.Meta.any == thing", false),
        ("Node.TaggedAddresses.wan == x", false),
        ("Service.Kind == \"connect-proxy\"", false),
        ("Service.TaggedAddresses.wan.Address == x", false),
        ("Service.Proxy.DestinationServiceName == web", false),
        ("Service.Connect.Native == true", false),
    ] {
        assert_eq!(ask(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_field_that_json_leaves_out_has_its_zero_value() {
    for (text, expected) in [
        ("Service.Kind == \"\"", true),
        ("Service.Kind != \"connect-proxy\"", true),
        ("Service.Kind == \"connect-proxy\"", false),
        ("Service.Kind is empty", true),
        ("Service.SocketPath == \"\"", true),
        ("Service.Connect.Native == false", true),
        ("Service.Connect.Native != true", true),
        ("Service.Proxy.DestinationServiceName == \"\"", true),
        ("Service.Proxy.LocalServicePort == 0", true),
        ("Service.Proxy.MeshGateway.Mode matches \"^$\"", true),
        ("Node.Meta.Kind == \"\"", false),
    ] {
        assert_eq!(ask(text), Ok(expected), "{text}");
    }
}

#[test]
fn an_unknown_selector_is_named_and_so_is_an_operator_that_does_not_fit() {
    for (text, part) in [
        ("Nonsense == 1", "\"Nonsense\""),
        ("Node.Nonsense == 1", "\"Node.Nonsense\""),
        ("Service.Port.deep == 1", "\"Service.Port.deep\""),
        ("Checks.Nonsense == 1", "\"Checks.Nonsense\""),
        ("Node.CreateIndex == 5", "\"Node.CreateIndex\""),
        ("Checks.Definition is empty", "\"Checks.Definition\""),
        ("Service.Port == many", "is a number"),
        ("Service.EnableTagOverride == maybe", "true or false"),
        ("Service.Tags == v1", "Invalid match operator"),
        ("Service.Port is empty", "Invalid match operator"),
        ("Service.Port matches x", "Invalid match operator"),
        ("8 in Service.Port", "Invalid match operator"),
    ] {
        let error = ask(text).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn validation_finds_a_wrong_selector_behind_a_part_that_has_decided() {
    let text = "Service.Port == 8080 or Nonsense == 1";
    assert_eq!(ask(text), Ok(true));
    let error = Filter::parse(text).expect("parses").validate(&row()).expect_err("must be refused");
    assert!(error.contains("Nonsense"), "{error}");
}

#[test]
fn what_does_not_parse_is_refused_with_what_was_expected_and_where() {
    for (text, part) in [
        ("", "expected a selector or a value at 0"),
        ("Node", "expected ==, !="),
        ("Node ==", "expected a value at 7"),
        ("Node == 1 1", "expected and, or, or the end, got \"1\" at 10"),
        ("(Node == 1", "expected and, or, or )"),
        ("Node == \"open", "the closing \" is missing"),
        ("Node == `open", "the closing ` is missing"),
        ("Node == n-1", "at 9"),
        ("Node.1 == x", "expected a name"),
        ("Node[x] == y", "expected quoted text"),
        ("Node is full", "expected empty"),
        ("Node not == x", "expected in, contains or matches"),
        ("\"x\" == Node", "expected in or not in after a value"),
        ("Node matches `(`", "no regular expression"),
        ("Node == 01", "expected a number"),
        ("Node == \"\\d\"", "unknown escape"),
        ("Node = x", "unexpected '='"),
    ] {
        let error = Filter::parse(text).expect_err(text);
        assert!(error.starts_with("Failed to parse filter: ") && error.contains(part), "{text}: {error}");
    }
}

#[test]
fn length_depth_and_regular_expressions_are_bounded() {
    let nested = |depth: usize| format!("{}Node == x{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(64)).is_ok());
    assert!(Filter::parse(&nested(65)).is_err());
    assert!(Filter::parse(&format!("{} Node == x", "not ".repeat(10_000))).is_err());
    assert!(Filter::parse(&" ".repeat(70_000)).is_err());
    assert!(Filter::parse("Node matches `((a{1000}){1000}){1000}`").is_err());
}

fn words() -> impl Strategy<Value = String> {
    const WORDS: [&str; 23] = [
        "not",
        "and",
        "or",
        "in",
        "is",
        "empty",
        "contains",
        "matches",
        "==",
        "!=",
        "(",
        ")",
        "[",
        "]",
        ".",
        "\"x\"",
        "`y",
        "-1.5",
        "Node",
        "Service.Tags",
        "Checks.Status",
        "é",
        "\\",
    ];
    let word = prop::sample::select(&WORDS[..]);
    prop::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}") {
        let _ = ask(&text);
    }

    #[test]
    fn no_order_of_words_makes_it_panic(text in words()) {
        let _ = ask(&text);
    }

    #[test]
    fn any_text_in_quotes_is_found_again(text in "[^\"\\\\]{0,40}") {
        let filter = Filter::parse(&format!("Name == \"{text}\"")).expect("parses");
        prop_assert_eq!(filter.matches(&json!({"Name": text.clone()})), Ok(true));
    }
}
