//! `kontor info`: the agent's statistics.

use super::Done;
use super::client::{Call, Client};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    stats: BTreeMap<String, BTreeMap<String, String>>,
}

pub(super) async fn run(client: Client) -> Result<Done, String> {
    let answer: Answer = client.json(Call::get("/v1/agent/self")).await?;
    Ok(Done::text(sections(&answer.stats)))
}

fn sections(stats: &BTreeMap<String, BTreeMap<String, String>>) -> String {
    let lines = |section: &BTreeMap<String, String>| {
        section.iter().map(|(key, value)| format!("\t{key} = {value}\n")).collect::<String>()
    };
    stats.iter().map(|(name, section)| format!("{name}:\n{}", lines(section))).collect()
}

#[cfg(test)]
mod tests {
    use super::sections;
    use std::collections::BTreeMap;

    #[test]
    fn sections_and_keys_are_sorted() {
        let section =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
        let stats = BTreeMap::from([
            ("raft".to_owned(), section(&[("term", "2"), ("state", "Leader")])),
            ("agent".to_owned(), section(&[("checks", "0")])),
        ]);
        assert_eq!(sections(&stats), "agent:\n\tchecks = 0\nraft:\n\tstate = Leader\n\tterm = 2\n");
    }
}
