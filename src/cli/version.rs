//! `kontor version`.

use super::Done;
use crate::config::defaults::CONSUL_VERSION;
use clap::Args;
use serde_json::json;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Show the version, and that of the Consul API it offers.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor version -format=json")]
pub(super) struct VersionArgs {
    /// pretty or json
    #[arg(long, value_parser = ["pretty", "json"], default_value = "pretty", value_name = "FORMAT")]
    format: String,
}

impl VersionArgs {
    pub(super) fn run(self) -> Result<Done, String> {
        if self.format == "json" {
            let version = json!({
                "Version": VERSION,
                "Revision": "",
                "Prerelease": "",
                "ConsulVersion": CONSUL_VERSION,
                "RPC": {"Default": 2, "Min": 2, "Max": 3},
            });
            return Ok(Done::line(serde_json::to_string_pretty(&version).map_err(|error| error.to_string())?));
        }
        Ok(Done::line(format!(
            "Kontor v{VERSION}\nOffers the API of Consul v{CONSUL_VERSION}\nProtocol 2 spoken by default, understands 2 to 3"
        )))
    }
}
