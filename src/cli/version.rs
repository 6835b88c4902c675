//! `kontor version`: Consul's lines first, for scripts that read them, then Kontor's.

use super::Done;
use crate::defaults::{CONSUL_BUILD_DATE, CONSUL_VERSION};
use clap::Args;
use serde_json::json;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Show the version of Consul that is offered, and that of Kontor.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor version -format=json")]
pub(super) struct VersionArgs {
    /// pretty or json
    #[arg(long, value_parser = ["pretty", "json"], default_value = "pretty", value_name = "FORMAT")]
    format: String,
}

impl VersionArgs {
    pub(super) fn run(self) -> Result<Done, String> {
        let revision = format!("kontor-{VERSION}");
        if self.format == "json" {
            let version = json!({
                "Version": CONSUL_VERSION,
                "Revision": revision,
                "Prerelease": "",
                "BuildDate": CONSUL_BUILD_DATE,
                "Kontor": VERSION,
                "RPC": {"Default": 2, "Min": 2, "Max": 3},
            });
            return Ok(Done::line(serde_json::to_string_pretty(&version).map_err(|error| error.to_string())?));
        }
        let protocol = "Protocol 2 spoken by default, understands 2 to 3 \
            (agent will automatically use protocol >2 when speaking to compatible agents)";
        Ok(Done::line(format!(
            "Consul v{CONSUL_VERSION}\nRevision {revision}\nBuild Date {CONSUL_BUILD_DATE}\n{protocol}\nThis is Kontor v{VERSION}, which offers what that version of Consul does"
        )))
    }
}
