//! `kontor federation`: the other datacenters as the agent's server sees them, and their faults.

use super::Done;
use super::client::{Call, Client};
use super::federation_pages as pages;
use crate::model::federation::{Examination, Federation};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Look at the other datacenters, find what is wrong, and take one out
///
/// Each server has links of its own to the other datacenters. What is told is the view of one server: the
/// agent asked, or one of its servers when it is a client. Point -http-addr at another server for its view.
#[derive(Subcommand, Debug)]
pub(super) enum FederationCommand {
    /// List the other datacenters and how they stand
    ///
    /// States: alive (a link stands), stale (no link, but answers that were given before are still held and
    /// served to stale reads), trying (the first dials are under way), unreachable (no link and nothing held),
    /// left (all its servers have left), removed (by an operator, or its servers are gone), disabled (switched
    /// off by configuration). With -datacenter only the one named is listed.
    #[command(after_help = "Example:\n  kontor federation list\n  kontor federation list -format=json")]
    List(FormatArgs),
    /// Show one datacenter: its servers, links, certificates and traffic
    ///
    /// Of a datacenter that is not alive the cause is told in the words of the header X-Kontor-Reason. Traffic
    /// is counted from the moment the link came up.
    #[command(after_help = "Example:\n  kontor federation status dc2\n  kontor federation status dc2 -format=json")]
    Status {
        /// Name of the datacenter
        dc: String,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Take a datacenter out of the federation
    ///
    /// At once, in every server of this datacenter, and without asking: its gossip and its links are refused,
    /// whoever relays them, until an operator here joins it again (kontor join -wan) or another cluster takes
    /// its name. Exit code 1 when it was not done.
    #[command(after_help = "Example:\n  kontor federation remove dc2")]
    Remove {
        /// Name of the datacenter
        dc: String,
    },
    /// Look at the way to a datacenter and back, and say what is wrong
    ///
    /// All its servers are dialled anew, at the same time, while one of them dials ours: that shows blocked
    /// ports and one-way paths, certificates that are refused and why, clocks that are apart, and gossip that
    /// says otherwise than the link. Nothing is changed. Takes two seconds for what does not answer.
    ///
    /// Exit code 0 when all is fine, 1 when anything is a warning or an error, or nobody could be asked.
    #[command(after_help = "Example:\n  kontor federation doctor        # all datacenters\n  kontor federation doctor dc2")]
    Doctor {
        /// Name of the datacenter; all when not given
        dc: Option<String>,
        #[command(flatten)]
        format: FormatArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct FormatArgs {
    /// pretty or json
    #[arg(long, value_parser = ["pretty", "json"], default_value = "pretty", value_name = "FORMAT")]
    format: String,
}

impl FederationCommand {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let flagged = client.endpoint.datacenter.clone();
        match self {
            FederationCommand::List(format) => {
                let call = Call::get("/v1/federation");
                let call = if let Some(dc) = &flagged { call.segment(dc) } else { call };
                format.show(&client, call, pages::list).await
            }
            FederationCommand::Status { dc, format } => {
                one_of(&dc, flagged.as_deref())?;
                format.show(&client, Call::get("/v1/federation").segment(&dc), pages::status).await
            }
            FederationCommand::Remove { dc } => {
                one_of(&dc, flagged.as_deref())?;
                client.send(Call::put("/v1/federation/remove").segment(&dc)).await?;
                Ok(Done::line(format!("Removed datacenter: {dc}")))
            }
            FederationCommand::Doctor { dc, format } => {
                if let Some(dc) = &dc {
                    one_of(dc, flagged.as_deref())?;
                }
                doctor(&client, dc.or(flagged), &format).await
            }
        }
    }
}

impl FormatArgs {
    fn is_json(&self) -> bool {
        self.format == "json"
    }

    /// The answer to `call`: as JSON as it came, or as a page.
    async fn show(&self, client: &Client, call: Call, page: fn(&Federation) -> String) -> Result<Done, String> {
        let value: Value = client.json(call).await?;
        let federation =
            Federation::deserialize(&value).map_err(|error| format!("the answer is not what was expected: {error}"))?;
        if self.is_json() { json(&value) } else { Ok(Done::text(page(&federation))) }
    }
}

async fn doctor(client: &Client, dc: Option<String>, format: &FormatArgs) -> Result<Done, String> {
    let names = match dc {
        Some(dc) => vec![dc],
        None => {
            let federation: Federation = client.json(Call::get("/v1/federation")).await?;
            let with_a_way = federation.datacenters.into_iter().filter(|datacenter| datacenter.state.has_a_way());
            with_a_way.map(|datacenter| datacenter.name).collect()
        }
    };
    let mut examinations: Vec<Examination> = Vec::with_capacity(names.len());
    for name in &names {
        examinations.push(client.json(Call::put("/v1/federation/doctor").segment(name)).await?);
    }
    let code = u8::from(!examinations.iter().all(Examination::is_fine));
    if format.is_json() {
        return Ok(Done { code, ..json(&examinations)? });
    }
    if examinations.is_empty() {
        return Ok(Done::line("There is no other datacenter to look at."));
    }
    Ok(Done { code, ..Done::text(pages::doctor(&examinations)) })
}

/// Refuses a flag that names another datacenter than the command: the answer is always the asked agent's view.
fn one_of(dc: &str, flagged: Option<&str>) -> Result<(), String> {
    match flagged {
        Some(other) if !other.eq_ignore_ascii_case(dc) => Err(format!(
            "expected one datacenter, got {dc:?} and -datacenter={other}; to have a server of {other} asked, name its address with -http-addr"
        )),
        _ => Ok(()),
    }
}

fn json<T: Serialize>(value: &T) -> Result<Done, String> {
    Ok(Done::line(serde_json::to_string_pretty(value).map_err(|error| error.to_string())?))
}
