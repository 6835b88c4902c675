//! `kontor federation`: the other datacenters as the agent's server sees them, and what is wrong.
//!
//! The pages are in `federation_pages`; this file has the grammar and asks.

use super::Done;
use super::client::{Call, Client};
use super::endpoint::ClientFlags;
use super::federation_pages as pages;
use crate::model::federation::{Examination, Federation};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Look at the other datacenters, find what is wrong, and take one out
///
/// Each server has links of its own to the other datacenters. What is told is the view of one server: the
/// agent asked, or one of its servers when it is a client. Point -http-addr at another server for its view.
#[derive(Args, Debug)]
pub(super) struct FederationArgs {
    #[command(subcommand)]
    command: FederationCommand,
    #[command(flatten)]
    pub(super) client: ClientFlags,
}

#[derive(Subcommand, Debug)]
enum FederationCommand {
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
    Status(StatusArgs),
    /// Take a datacenter out of the federation
    ///
    /// At once, in every server of this datacenter, and without asking: its gossip and its links are refused,
    /// whoever relays them, until an operator here joins it again (kontor join -wan) or another cluster takes
    /// its name. Exit code 1 when it was not done.
    #[command(after_help = "Example:\n  kontor federation remove dc2")]
    Remove(RemoveArgs),
    /// Look at the way to a datacenter and back, and say what is wrong
    ///
    /// All its servers are dialled anew, at the same time, while one of them dials ours: that shows blocked
    /// ports and one-way paths, certificates that are refused and why, clocks that are apart, and gossip that
    /// says otherwise than the link. Nothing is changed. Takes two seconds for what does not answer.
    ///
    /// Exit code 0 when all is fine, 1 when anything is a warning or an error, or nobody could be asked.
    #[command(after_help = "Example:\n  kontor federation doctor        # all datacenters\n  kontor federation doctor dc2")]
    Doctor(DoctorArgs),
}

#[derive(Args, Debug)]
struct FormatArgs {
    /// pretty or json
    #[arg(long, value_parser = ["pretty", "json"], default_value = "pretty", value_name = "FORMAT")]
    format: String,
}

#[derive(Args, Debug)]
struct StatusArgs {
    /// Name of the datacenter
    dc: String,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Args, Debug)]
struct RemoveArgs {
    /// Name of the datacenter
    dc: String,
}

#[derive(Args, Debug)]
struct DoctorArgs {
    /// Name of the datacenter; all when not given
    dc: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

impl FederationArgs {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let flagged = client.datacenter().map(str::to_owned);
        match self.command {
            FederationCommand::List(format) => {
                let call = Call::get("/v1/federation");
                let call = if let Some(dc) = &flagged { call.segment(dc) } else { call };
                let (federation, value) = answer::<Federation>(&client, call).await?;
                if format.is_json() { json(&value) } else { Ok(Done::text(pages::list(&federation))) }
            }
            FederationCommand::Status(StatusArgs { dc, format }) => {
                one_of(&dc, flagged.as_deref())?;
                let call = Call::get("/v1/federation").segment(&dc);
                let (federation, value) = answer::<Federation>(&client, call).await?;
                if format.is_json() { json(&value) } else { Ok(Done::text(pages::status(&federation))) }
            }
            FederationCommand::Remove(RemoveArgs { dc }) => {
                one_of(&dc, flagged.as_deref())?;
                client.send(Call::put("/v1/federation/remove").segment(&dc)).await?;
                Ok(Done::line(format!("Removed datacenter: {dc}")))
            }
            FederationCommand::Doctor(mut args) => {
                if let Some(dc) = &args.dc {
                    one_of(dc, flagged.as_deref())?;
                }
                args.dc = args.dc.or(flagged);
                args.run(&client).await
            }
        }
    }
}

impl FormatArgs {
    fn is_json(&self) -> bool {
        self.format == "json"
    }
}

impl DoctorArgs {
    async fn run(self, client: &Client) -> Result<Done, String> {
        let names = match &self.dc {
            Some(dc) => vec![dc.clone()],
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
        if self.format.is_json() {
            return Ok(Done { code, ..json(&examinations)? });
        }
        if examinations.is_empty() {
            return Ok(Done::line("There is no other datacenter to look at."));
        }
        Ok(Done { code, ..Done::text(pages::doctor(&examinations)) })
    }
}

/// Refuses a flag that names another datacenter than the command does: what is told and done here is the view of
/// the agent that is asked.
fn one_of(dc: &str, flagged: Option<&str>) -> Result<(), String> {
    match flagged {
        Some(other) if !other.eq_ignore_ascii_case(dc) => Err(format!(
            "expected one datacenter, got {dc:?} and -datacenter={other}; to have a server of {other} asked, name its address with -http-addr"
        )),
        _ => Ok(()),
    }
}

/// The answer as it is read here, and as it came.
async fn answer<T: DeserializeOwned>(client: &Client, call: Call) -> Result<(T, Value), String> {
    let value: Value = client.json(call).await?;
    let read = T::deserialize(&value).map_err(|error| format!("the answer is not what was expected: {error}"))?;
    Ok((read, value))
}

fn json<T: Serialize>(value: &T) -> Result<Done, String> {
    Ok(Done::line(serde_json::to_string_pretty(value).map_err(|error| error.to_string())?))
}
