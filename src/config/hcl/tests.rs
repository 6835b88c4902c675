//! HCL as Consul's users write it.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn value(text: &str) -> Value {
    parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}")).value()
}

fn fault(text: &str) -> String {
    let fault = parse(text).expect_err(text);
    format!("{} {}", fault.at, fault.what.strip_prefix("not valid HCL: ").unwrap())
}

#[test]
fn texts_are_no_templates() {
    for text in [
        "%{http_code}",
        "${VAR:-x}",
        "${#x}",
        "${x%%.*}",
        "$${x}",
        "%%{x}",
        "$x {",
        "a } b",
        "${a {b} \"q\" c}",
        "$",
        "{{ Get \\\"e\\\" }}",
    ] {
        let plain = text.replace("\\\"", "\"");
        assert_eq!(value(&format!("a = \"{text}\"")), json!({"a": plain}), "{text}");
    }
    assert_eq!(value("a = \"\\x41\\u00e9\\U0001F600\\101\\t\\\\\""), json!({"a": "Aé😀A\t\\"}));
    assert_eq!(value("a = \"${\n \\d}\""), json!({"a": "${\n \\d}"}));
}

#[test]
fn numbers_are_written_in_three_bases() {
    let text = "a = 0x2134\nb = 010\nc = -7\nd = 1.5\ne = 1e3\nf = 0\ng = -0x10\nh = -1";
    assert_eq!(value(text), json!({"a": 8500, "b": 8, "c": -7, "d": 1.5, "e": 1000.0, "f": 0, "g": -16, "h": -1}));
    for wrong in ["a = 08", "a = 0x", "a = 99999999999999999999", "a = 1e999", "a = -", "a = 1e", "a = ."] {
        assert!(fault(wrong).starts_with("1:5 expected a number"), "{wrong}");
    }
}

#[test]
fn a_key_that_is_set_again_replaces_one_value_and_adds_to_lists_and_blocks() {
    let text = "a = 1\na = 2\nb = [1]\nb = [2]\nc { d = 1 }\nc { d = 2 }\nc = [{ d = 3 }]\ne = \"x\" e = 5";
    assert_eq!(value(text), json!({"a": 2, "b": [1, 2], "c": [{"d": 1}, {"d": 2}, {"d": 3}], "e": 5}));
    assert!(fault("a = 1\na = [2]").starts_with("2:1 expected the key a"));
}

#[test]
fn heredocs_are_texts_anywhere() {
    let text = "service { name = <<EOF\none\n two\nEOF\n port = 1 }\nb = [<<E\nx\nE\n, <<-E\n    a\n      b\n    E\n]\nc = <<-X\n a\n   X";
    let expected = json!({"service": {"name": "one\n two\n", "port": 1}, "b": ["x\n", "a\n  b\n"], "c": " a\n"});
    assert_eq!(value(text), expected);
    assert_eq!(value("a = <<E\r\nx\r\nE\r\n"), json!({"a": "x\n"}));
    assert!(fault("\n a = <<E\nx\nEE\n").starts_with("2:6 the text that begins here has no end"));
    assert!(fault("a = <E").starts_with("1:5 expected <<"));
}

#[test]
fn settings_stand_on_one_line_or_on_many_with_commas_or_without() {
    let text = r#"
        "datacenter" = "dc1" # a "comment" = {
        ports { http = 8500, "dns" = 8600 } // another {
        "node_meta" { "a-b" = "x, { y" }
        retry_join = ["a", "b",], server = true
        service { name = "web", tags = ["a", "b"], meta = { "k.k" = "v" } }
        performance { raft_multiplier = 2 leave_drain_time = "1s" rpc_hold_timeout = "7s" }
        services = [ { name = "s", port = 1 }, { name = "t" port = 2 tags = ["a" ] check { ttl = "1s" notes = "n" } meta = { a = "b" } } ]
        telemetry { disable_compat_1.9 = true "a.b" = "c.d" } dns_config { service_ttl { "*" = "1s" "web*" = "2s" } } limits { rpc_rate = 1.5 }
        check { name = "c" "args" = ["a b", "c"] meta { a = -1.5 } ttl = "1s" /* = x */ notes = "" }
        watch "a" "b" { c = 1 }
    "#;
    let expected = json!({
        "datacenter": "dc1", "ports": {"http": 8500, "dns": 8600}, "node_meta": {"a-b": "x, { y"},
        "retry_join": ["a", "b"], "server": true,
        "service": {"name": "web", "tags": ["a", "b"], "meta": {"k.k": "v"}},
        "performance": {"raft_multiplier": 2, "leave_drain_time": "1s", "rpc_hold_timeout": "7s"},
        "services": [
            {"name": "s", "port": 1},
            {"name": "t", "port": 2, "tags": ["a"], "check": {"ttl": "1s", "notes": "n"}, "meta": {"a": "b"}}
        ],
        "telemetry": {"disable_compat_1.9": true, "a.b": "c.d"}, "dns_config": {"service_ttl": {"*": "1s", "web*": "2s"}},
        "limits": {"rpc_rate": 1.5},
        "check": {"name": "c", "args": ["a b", "c"], "meta": {"a": -1.5}, "ttl": "1s", "notes": ""},
        "watch": {"a": {"b": {"c": 1}}}
    });
    assert_eq!(value(text), expected);
    assert_eq!(value("\u{feff}a = true\r\n"), json!({"a": true}));
    assert_eq!(value(" # nothing\n"), json!({}));
}

#[test]
fn what_is_no_hcl_is_told_with_its_place() {
    for (text, expected) in [
        ("node_name = foo", "1:13 expected a value, got a bare word; texts stand in quotes"),
        ("a = 1\nb", "2:2 expected = or { after a key, got the end of the file"),
        ("a : 1", "1:3 expected = between a key and its value, got :"),
        ("a = \"x\ny\"", "1:5 the text that begins here has no closing quote on its line"),
        ("a = \"\\q\"", "1:6 expected an escape"),
        ("a = [1 2]", "1:8 expected , or ] in a list, got a number"),
        ("é = [1,\n 2", "2:3 expected , or ] in a list, got the end of the file"),
        ("ports {\n http = 1", "2:10 expected a key, got the end of the file"),
        ("a = 1\n}", "2:1 expected a key, got }"),
        ("a \"b\" = 1", "1:7 expected { after a label, got ="),
        ("/* a", "1:1 the comment that begins here has no end"),
        ("true = 1", "1:1 expected a key, got true"),
        ("a = \"\\xff\"", "1:5 the text that begins here is no UTF-8"),
        ("a = 80s", "1:8 expected = or { after a key"),
        ("a = ;", "1:5 unexpected character ';'"),
    ] {
        assert!(fault(text).starts_with(expected), "{text}: {}", fault(text));
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(fault(&deep).contains("expected at most"));
    assert!(fault(&"a ".repeat(100_000)).contains("expected at most"));
}

/// A value as HCL, in one of several ways to write it.
fn written(value: &Value, out: &mut String) {
    match value {
        Value::Object(entries) => {
            out.push('{');
            for (key, value) in entries {
                out.push_str(&quoted(key));
                out.push_str(if value.is_object() { " " } else { " = " });
                written(value, out);
                out.push('\n');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                written(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::String(text) => out.push_str(&quoted(text)),
        other => out.push_str(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() || c == '$' => format!("\\U{:08x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

fn data() -> impl Strategy<Value = Value> {
    let scalar =
        prop_oneof![any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), ".{0,8}".prop_map(Value::from)];
    scalar.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(entries in prop::collection::btree_map(".{1,4}", data(), 0..5)) {
        let expected = Value::Object(entries.into_iter().collect());
        let mut text = String::new();
        written(&expected, &mut text);
        // The outermost braces are those of the file.
        let body = text.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
        prop_assert_eq!(value(body), expected);
    }

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,64}|[\\[\\]{}\",=#/*\\\\$<>a0x.e \n-]{0,64}|(a|b| |=|\\{|\\}|\\[|\\]|,|\"|<<E\n|<<-E\n|E\n|0x|1){0,40}") {
        let _ = parse(&text);
    }
}
