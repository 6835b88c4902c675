//! `agent/metrics`: the counters since the start of the process.

use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, ready};
use crate::http::respond::Reply;
use hyper::header::ACCEPT;
use serde_json::{Value, json};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const GO_TIME: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");

/// `GET agent/metrics?format=prometheus`, or the same as Consul's JSON. Both count since the start of the process.
pub(in crate::http) fn metrics(api: &Arc<HttpParts>, call: Call) -> Pending {
    let counted = api.control.counters();
    let accepts = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let asked = call.parameters.first("format") == Some("prometheus");
    let as_text = asked || accepts.contains("application/openmetrics-text") || accepts.contains("version=0.4.0");
    ready(if as_text { Ok(Reply::text(counted)) } else { super::json(&summary(&counted)) })
}

/// Consul's JSON form of `counted`.
fn summary(counted: &str) -> Value {
    let counters: Vec<Value> = counted.lines().filter_map(counter).collect();
    let now = OffsetDateTime::now_utc().truncate_to_second();
    json!({"Timestamp": now.format(GO_TIME).unwrap_or_default(), "Gauges": [], "Points": [], "Counters": counters, "Samples": []})
}

/// A counter from a line such as `kontor_gossip_refused{reason="junk"} 3`.
fn counter(line: &str) -> Option<Value> {
    let (series, total) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let total: u64 = total.parse().ok()?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
    let labels: serde_json::Map<String, Value> =
        pairs.map(|(label, value)| (label.to_owned(), Value::from(value.trim_matches('"')))).collect();
    Some(json!({
        "Name": name, "Count": total, "Rate": 0.0, "Sum": total, "Min": 0, "Max": 0, "Mean": 0, "Stddev": 0, "Labels": labels,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_keep_their_names_labels_and_totals() {
        let text = "# TYPE kontor_gossip_refused counter\nkontor_gossip_refused{reason=\"junk\",pool=\"lan\"} 3\n\nkontor_raft_fsyncs 7\n";
        let summary = summary(text);
        assert_eq!(summary["Counters"].as_array().unwrap().len(), 2);
        assert_eq!(summary["Counters"][0]["Labels"], json!({"reason": "junk", "pool": "lan"}));
        let second = &summary["Counters"][1];
        assert_eq!((&second["Name"], &second["Count"]), (&json!("kontor_raft_fsyncs"), &json!(7)));
    }
}
