//! `kontor kv`: keys and values.

use super::Done;
use super::client::{Call, Client};
use super::kv_entry::{Entry, Shown};
use clap::{Args, Subcommand};
use std::io::Read;

/// Read and write keys.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(super) struct KvArgs {
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Subcommand, Debug)]
enum KvCommand {
    Get(GetArgs),
    Put(PutArgs),
    Delete(DeleteArgs),
    Export(ExportArgs),
    Import(ImportArgs),
}

/// Show the value of a key, all below a prefix, or their names.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  kontor kv get config/web\n  kontor kv get -recurse config/\n  kontor kv get -keys -separator=/ config/"
)]
struct GetArgs {
    /// Show values in base64
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    base64: Option<bool>,
    /// Show all fields
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    detailed: Option<bool>,
    /// List the keys below the prefix
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    keys: Option<bool>,
    /// Show all keys below the prefix
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    recurse: Option<bool>,
    /// Text after which -keys cuts keys; empty for whole keys
    #[arg(long, value_name = "TEXT", default_value = "/")]
    separator: String,
    /// The key, or the prefix
    #[arg(value_name = "KEY")]
    key: Vec<String>,
}

/// Write a value.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  kontor kv put config/web '{\"port\": 80}'\n  kontor kv put config/web @web.json\n  kontor kv put -cas -modify-index=12 config/web new"
)]
struct PutArgs {
    /// Take the lock of the key for -session
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    acquire: Option<bool>,
    /// The value is given in base64
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    base64: Option<bool>,
    /// Write only if the key was changed last at -modify-index
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    cas: Option<bool>,
    /// A number to keep with the value
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    flags: u64,
    /// Index of the last change for -cas; 0 for a key that is not there
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    modify_index: u64,
    /// Give the lock of the key back for -session
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    release: Option<bool>,
    /// Session for -acquire and -release
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Time after which the key is deleted unless it is written again, such as 30s
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// The key, and the value: text, @FILE, or - for standard input
    #[arg(value_name = "KEY [VALUE]")]
    key: Vec<String>,
}

/// Delete a key, or all below a prefix.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor kv delete config/web\n  kontor kv delete -recurse config/")]
struct DeleteArgs {
    /// Delete only if the key was changed last at -modify-index
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    cas: Option<bool>,
    /// Index of the last change for -cas
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    modify_index: u64,
    /// Delete all keys below the prefix
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    recurse: Option<bool>,
    /// The key, or the prefix
    #[arg(value_name = "KEY")]
    key: Vec<String>,
}

/// Write all keys below a prefix as JSON.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor kv export config/ > config.json")]
struct ExportArgs {
    /// The prefix; all keys when not given
    #[arg(value_name = "PREFIX")]
    prefix: Vec<String>,
}

/// Write the keys that `kv export` has written.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor kv import @config.json\n  kontor kv export config/ | kontor kv import -")]
struct ImportArgs {
    /// The JSON: text, @FILE, or - for standard input
    #[arg(value_name = "DATA")]
    data: Vec<String>,
}

impl KvArgs {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let done = match self.command {
            KvCommand::Get(args) => args.run(client).await,
            KvCommand::Put(args) => args.run(client).await,
            KvCommand::Delete(args) => args.run(client).await,
            KvCommand::Export(args) => args.run(client).await,
            KvCommand::Import(args) => args.run(client).await,
        };
        // The texts are Consul's, and so is their end.
        Ok(done.unwrap_or_else(|error| Done { err: error + "\n", code: 1, ..Done::default() }))
    }
}

/// The one argument; none where it may be left out.
fn single(mut words: Vec<String>, missing: Option<&str>) -> Result<String, String> {
    match (words.len(), missing) {
        (0, None) => Ok(String::new()),
        (0, Some(missing)) => Err(format!("Error! Missing {missing} argument")),
        (1, _) => Ok(words.remove(0)),
        (given, _) => Err(format!("Too many arguments (expected 1, got {given})")),
    }
}

fn call(call: Call, key: &[u8]) -> Call {
    call.raw_segment(key)
}

fn get_below(prefix: &str) -> Call {
    // A lone slash is the root, as in Consul.
    call(Call::get("/v1/kv"), if prefix == "/" { b"" } else { prefix.as_bytes() })
}

/// The entries that `call` finds; none where the agent answers 404.
async fn entries(client: &Client, call: Call) -> Result<Vec<Entry>, String> {
    let answer = client.find(client.routed(call)).await.map_err(|error| format!("Error querying Consul agent: {error}"))?;
    let Some(body) = answer else { return Ok(Vec::new()) };
    serde_json::from_slice(&body).map_err(|error| format!("Error! The answer is not what was expected: {error}"))
}

impl GetArgs {
    async fn run(self, client: Client) -> Result<Done, String> {
        let is_list = self.keys == Some(true) || self.recurse == Some(true);
        let key = single(self.key, (!is_list).then_some("KEY"))?;
        let shown = Shown { is_base64: self.base64 == Some(true), is_detailed: self.detailed == Some(true) };
        if self.keys == Some(true) {
            let call = client.routed(get_below(&key).param("keys", "").param("separator", &self.separator));
            let answer = client.find(call).await.map_err(|error| format!("Error querying Consul agent: {error}"))?;
            let keys: Vec<String> =
                answer.map_or(Ok(Vec::new()), |body| serde_json::from_slice(&body)).map_err(|error| error.to_string())?;
            return Ok(Done::text(keys.iter().map(|key| format!("{key}\n")).collect()));
        }
        if self.recurse == Some(true) {
            let found = entries(&client, get_below(&key).param("recurse", "")).await?;
            return Ok(Done::bytes(shown.list(&found)));
        }
        if key.is_empty() {
            return Err("Error! Missing KEY argument".to_owned());
        }
        let found = entries(&client, call(Call::get("/v1/kv"), key.as_bytes())).await?;
        let entry = found.first().ok_or_else(|| format!("Error! No key exists at: {key}"))?;
        Ok(Done::bytes(shown.single(entry)))
    }
}

impl PutArgs {
    async fn run(self, client: Client) -> Result<Done, String> {
        let mut words = self.key.into_iter();
        let key = words.next().ok_or("Error! Missing KEY argument")?;
        let value = words.next();
        if let more @ 1.. = words.count() {
            return Err(format!("Too many arguments (expected 1 or 2, got {})", more + 2));
        }
        let (cas, acquire, release) = (self.cas == Some(true), self.acquire == Some(true), self.release == Some(true));
        for (is_set, flag) in [(acquire, "-acquire"), (release, "-release")] {
            if is_set && self.session.is_none() {
                return Err(format!("Error! Missing -session (required with {flag})"));
            }
        }
        let mut data = value.map_or(Ok(Vec::new()), |value| source(&value)).map_err(|error| format!("Error! {error}"))?;
        if self.base64 == Some(true) {
            data = super::kv_entry::decode(&data).map_err(|error| format!("Error! Cannot base 64 decode data: {error}"))?;
        }
        let session = self.session.as_deref();
        let write = call(Call::put("/v1/kv"), key.as_bytes())
            .param("flags", &self.flags.to_string())
            .maybe("cas", cas.then(|| self.modify_index.to_string()).as_deref())
            .maybe("acquire", session.filter(|_| acquire))
            .maybe("release", session.filter(|_| release))
            .maybe("ttl", self.ttl.as_deref())
            .body(data);
        let answer = client.send(client.routed(write)).await.map_err(|error| format!("Error! Failed writing data: {error}"))?;
        let is_done = answer.trim_ascii() == b"true";
        let (done, failed) = match (cas, acquire, release) {
            (true, ..) if self.modify_index == 0 => (
                format!("Success! Data written to: {key}"),
                format!("Error! Did not write to {key}: CAS performed with index=0 and key already exists."),
            ),
            (true, ..) => (format!("Success! Data written to: {key}"), format!("Error! Did not write to {key}: CAS failed")),
            (_, true, _) => (format!("Success! Lock acquired on: {key}"), "Error! Did not acquire lock".to_owned()),
            (.., true) => (format!("Success! Lock released on: {key}"), "Error! Did not release lock".to_owned()),
            _ => (format!("Success! Data written to: {key}"), format!("Error! Did not write to {key}")),
        };
        if is_done { Ok(Done::line(done)) } else { Err(failed) }
    }
}

/// The bytes that an argument names: its text, a file, or standard input.
fn source(argument: &str) -> Result<Vec<u8>, String> {
    match argument.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(|error| format!("Failed to read file {file}: {error}")),
        None if argument == "-" => {
            let mut data = Vec::new();
            std::io::stdin().read_to_end(&mut data).map_err(|error| format!("Failed to read stdin: {error}"))?;
            Ok(data)
        }
        None => Ok(argument.as_bytes().to_vec()),
    }
}

impl DeleteArgs {
    async fn run(self, client: Client) -> Result<Done, String> {
        let (cas, recurse) = (self.cas == Some(true), self.recurse == Some(true));
        let key = single(self.key, (!recurse).then_some("KEY"))?;
        let refusal = match (cas, recurse, self.modify_index) {
            _ if key.is_empty() && !recurse => "Error! Missing KEY argument",
            (true, true, _) => "Cannot specify both -cas and -recurse!",
            (false, _, 1..) => "Cannot specify -modify-index without -cas!",
            (true, false, 0) => "Cannot delete a key that does not exist. Provide a -modify-index greater than than 0.",
            _ => "",
        };
        if !refusal.is_empty() {
            return Err(refusal.to_owned());
        }
        let meant = if recurse && key == "/" { "" } else { &key };
        let delete = call(Call::delete("/v1/kv"), meant.as_bytes())
            .maybe("recurse", recurse.then_some(""))
            .maybe("cas", cas.then(|| self.modify_index.to_string()).as_deref());
        let answer = client.send(client.routed(delete)).await;
        let answer = answer.map_err(|error| format!("Error! Did not delete key {key}: {error}"))?;
        match (answer.trim_ascii() == b"true", recurse) {
            (true, true) => Ok(Done::line(format!("Success! Deleted keys with prefix: {key}"))),
            (true, false) => Ok(Done::line(format!("Success! Deleted key: {key}"))),
            (false, _) => Err(format!("Error! Did not delete key {key}: CAS failed")),
        }
    }
}

impl ExportArgs {
    async fn run(self, client: Client) -> Result<Done, String> {
        let prefix = single(self.prefix, None)?;
        let found = entries(&client, get_below(&prefix).param("recurse", "")).await?;
        Ok(Done::text(super::kv_entry::export(&found)))
    }
}

impl ImportArgs {
    async fn run(self, client: Client) -> Result<Done, String> {
        let data = single(self.data, Some("DATA"))?;
        let data = source(&data).map_err(|error| format!("Error! {error}"))?;
        let entries = super::kv_entry::import(&data).map_err(|error| format!("Cannot unmarshal data: {error}"))?;
        let mut done = String::new();
        for entry in entries {
            let key = String::from_utf8_lossy(&entry.key).into_owned();
            let write = call(Call::put("/v1/kv"), &entry.key).param("flags", &entry.flags.to_string()).body(entry.value);
            if let Err(error) = client.send(client.routed(write)).await {
                return Ok(Done {
                    out: done,
                    err: format!("Error! Failed writing data for key {key}: {error}\n"),
                    code: 1,
                    ..Done::default()
                });
            }
            done.push_str(&format!("Imported: {key}\n"));
        }
        Ok(Done::text(done))
    }
}
