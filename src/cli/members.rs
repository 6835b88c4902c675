//! `kontor members`: the members of a pool, as the agent sees it.

use super::Done;
use super::client::{Call, Client};
use super::table::{layout, row};
use clap::Args;
use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;

/// List the members of the datacenter, or with -wan the servers of all datacenters
///
/// The list is what the agent itself has seen. Exits with 2 when no member matches.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor members -wan -status=alive")]
pub(super) struct MembersArgs {
    /// The WAN pool: servers of all datacenters
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    wan: Option<bool>,
    /// Show all tags
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    detailed: Option<bool>,
    /// Only members whose status matches this regular expression
    #[arg(long, value_name = "REGEX", default_value = ".*")]
    status: String,
    /// Only members of this network segment; there is one alone, so _all shows everybody
    #[arg(long, value_name = "SEGMENT", default_value = ALL_SEGMENTS)]
    segment: String,
}

/// Every network segment, as Consul calls it.
const ALL_SEGMENTS: &str = "_all";

/// A member as `/v1/agent/members` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
    protocol_cur: u8,
}

impl MembersArgs {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let wanted = Regex::new(&self.status).map_err(|error| format!("-status: {error}"))?;
        let wan = self.wan.unwrap_or(false);
        let segment = Some(self.segment.as_str()).filter(|segment| *segment != ALL_SEGMENTS);
        let call = Call::get("/v1/agent/members").maybe("wan", wan.then_some("1")).maybe("segment", segment);
        // A client agent, which is in no WAN pool, answers null.
        let listed: Option<Vec<Member>> = client.json(call).await?;
        let mut members = listed.unwrap_or_default();
        members.retain(|member| wanted.is_match(member.status_word()));
        if members.is_empty() {
            return Ok(Done { code: 2, ..Done::default() });
        }
        members.sort_by(|a, b| (a.tag("segment"), &a.name).cmp(&(b.tag("segment"), &b.name)));
        let rows = if self.detailed.unwrap_or(false) { detailed(&members) } else { standard(&members) };
        Ok(Done::text(layout(&rows, 2)))
    }
}

impl Member {
    fn tag(&self, name: &str) -> &str {
        self.tags.get(name).map_or("", String::as_str)
    }

    fn status_word(&self) -> &'static str {
        match self.status {
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "none",
        }
    }

    fn address(&self) -> String {
        if self.addr.contains(':') { format!("[{}]:{}", self.addr, self.port) } else { format!("{}:{}", self.addr, self.port) }
    }
}

fn standard(members: &[Member]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Partition", "Segment"])];
    for member in members {
        let build = member.tag("build").split(':').next().unwrap_or_default();
        let (kind, segment) = match (member.tag("role"), member.tag("segment")) {
            ("consul", _) => ("server", "<all>"),
            ("node", "") => ("client", "<default>"),
            ("node", segment) => ("client", segment),
            (_, segment) => ("unknown", segment),
        };
        let (address, protocol) = (member.address(), member.protocol_cur.to_string());
        let partition = if member.tag("ap").is_empty() { "default" } else { member.tag("ap") };
        let cells = [&member.name, &address, member.status_word(), kind, build, &protocol, member.tag("dc"), partition, segment];
        rows.push(row(cells));
    }
    rows
}

fn detailed(members: &[Member]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Node", "Address", "Status", "Tags"])];
    for member in members {
        let tags: Vec<String> = member.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        rows.push(row([&member.name, &member.address(), member.status_word(), &tags.join(",")]));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_is_consul_s() {
        let members: Vec<Member> = serde_json::from_value(json!([
            {"Name": "s1", "Addr": "10.0.0.1", "Port": 8301, "Status": 1, "ProtocolCur": 2,
             "Tags": {"role": "consul", "dc": "dc1", "build": "1.9.0:abc", "segment": ""}},
            {"Name": "c1", "Addr": "fd00::9", "Port": 8301, "Status": 3, "ProtocolCur": 2,
             "Tags": {"role": "node", "dc": "dc1", "build": "1.9.0:abc"}}
        ]))
        .unwrap();
        assert_eq!(
            layout(&standard(&members), 2),
            "Node  Address         Status  Type    Build  Protocol  DC   Partition  Segment\n\
             s1    10.0.0.1:8301   alive   server  1.9.0  2         dc1  default    <all>\n\
             c1    [fd00::9]:8301  left    client  1.9.0  2         dc1  default    <default>\n"
        );
        assert!(layout(&detailed(&members), 2).contains("build=1.9.0:abc,dc=dc1,role=consul"));
    }
}
