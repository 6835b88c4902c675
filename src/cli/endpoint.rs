//! The agent that a command asks, by the client flags and Consul's environment.
//!
//! A token never shows in errors or debug output.

use crate::model::ids::Token;
use clap::Args;
use std::path::PathBuf;

// Flags of all commands that ask an agent; they win over the environment. A doc comment would be each command's help.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Client options")]
pub(super) struct ClientFlags {
    /// Agent to speak to: host:port, http://…, https://… or unix://path [env: CONSUL_HTTP_ADDR] [default: 127.0.0.1:8500]
    #[arg(long, global = true, value_name = "ADDRESS")]
    http_addr: Option<String>,
    /// Access token [env: CONSUL_HTTP_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,
    /// File that holds the access token [env: CONSUL_HTTP_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authorities to trust for https, PEM [env: CONSUL_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Folder of authorities to trust for https [env: CONSUL_CAPATH]
    #[arg(long, global = true, value_name = "FOLDER")]
    ca_path: Option<PathBuf>,
    /// Certificate to show for https, PEM [env: CONSUL_CLIENT_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Key of that certificate, PEM [env: CONSUL_CLIENT_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Name that the agent's certificate must carry [env: CONSUL_TLS_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Datacenter to ask; the agent's own when not given
    #[arg(long, global = true, value_name = "DC")]
    datacenter: Option<String>,
    /// Let any server answer, not only the leader
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    stale: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(String),
    Unix(PathBuf),
}

/// TLS of an `https://` agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsOptions {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) ca_path: Option<PathBuf>,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    /// False with `CONSUL_HTTP_SSL_VERIFY=false` alone.
    pub(super) verify: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    /// `None` for plain HTTP.
    pub(super) tls: Option<TlsOptions>,
    pub(super) token: Token,
    /// `user:password` of `CONSUL_HTTP_AUTH`; a secret like a token.
    pub(super) auth: Token,
    pub(super) datacenter: Option<String>,
    pub(super) stale: bool,
}

impl ClientFlags {
    /// The endpoint by flags and the process's environment.
    pub(super) fn endpoint(&self) -> Result<Endpoint, String> {
        self.endpoint_in(&|name| std::env::var(name).ok())
    }

    /// The endpoint by flags and an environment. Empty variables count as unset.
    fn endpoint_in(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Endpoint, String> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let switch = |name: &str, default: bool| {
            variable(name).map_or(Ok(default), |text| parse_bool(&text).map_err(|error| format!("{name}: {error}")))
        };
        let file = |flag: &Option<PathBuf>, name: &str| flag.clone().or_else(|| variable(name).map(PathBuf::from));
        let text = self.http_addr.clone().filter(|text| !text.is_empty()).or_else(|| variable("CONSUL_HTTP_ADDR"));
        let (address, https) = parse_address(text.as_deref().unwrap_or("127.0.0.1:8500"))?;
        let tls = TlsOptions {
            ca_file: file(&self.ca_file, "CONSUL_CACERT"),
            ca_path: file(&self.ca_path, "CONSUL_CAPATH"),
            client_cert: file(&self.client_cert, "CONSUL_CLIENT_CERT"),
            client_key: file(&self.client_key, "CONSUL_CLIENT_KEY"),
            server_name: self.tls_server_name.clone().or_else(|| variable("CONSUL_TLS_SERVER_NAME")),
            verify: switch("CONSUL_HTTP_SSL_VERIFY", true)?,
        };
        let https = https || switch("CONSUL_HTTP_SSL", false)?;
        // A flag of any kind wins over variables.
        let named = self.token.clone().or_else(|| variable("CONSUL_HTTP_TOKEN").filter(|_| self.token_file.is_none()));
        let token = match (named, file(&self.token_file, "CONSUL_HTTP_TOKEN_FILE")) {
            (Some(token), _) => token,
            (None, Some(path)) => read_token(&path)?,
            (None, None) => String::new(),
        };
        Ok(Endpoint {
            address,
            tls: https.then_some(tls),
            token: Token(token),
            auth: Token(variable("CONSUL_HTTP_AUTH").unwrap_or_default()),
            datacenter: self.datacenter.clone().filter(|name| !name.is_empty()),
            stale: self.stale.unwrap_or(false),
        })
    }
}

/// A boolean in one of Go's spellings.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("expected true or false, got {text:?}")),
    }
}

fn read_token(path: &std::path::Path) -> Result<String, String> {
    let read = std::fs::read_to_string(path);
    read.map(|text| text.trim().to_owned()).map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))
}

/// The address, and whether it says https.
fn parse_address(text: &str) -> Result<(Address, bool), String> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Ok((Address::Unix(path.into()), false));
    }
    let (rest, https) = match text.split_once("://") {
        None => (text, false),
        Some(("http", rest)) => (rest, false),
        Some(("https", rest)) => (rest, true),
        Some((scheme, _)) => return Err(format!("expected an address with http://, https:// or unix://, got {scheme}://")),
    };
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains('/') {
        return Err(format!("expected an address such as 127.0.0.1:8500, got {text:?}"));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        !port.is_empty() && !port.contains(']') && (!before.contains(':') || before.ends_with(']'))
    });
    let address = match (has_port, https) {
        (true, _) => host.to_owned(),
        (false, true) => format!("{host}:443"),
        (false, false) if text.contains("://") => format!("{host}:80"),
        (false, false) => format!("{host}:8500"),
    };
    Ok((Address::Tcp(address), https))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_scheme_and_port() {
        let tcp = |text: &str| Address::Tcp(text.to_owned());
        for (text, address, https) in [
            ("127.0.0.1:8500", tcp("127.0.0.1:8500"), false),
            ("localhost", tcp("localhost:8500"), false),
            ("http://c.example:1234/", tcp("c.example:1234"), false),
            ("https://c.example", tcp("c.example:443"), true),
            ("https://[::1]:8501", tcp("[::1]:8501"), true),
            ("[::1]", tcp("[::1]:8500"), false),
            ("unix:///run/a.sock", Address::Unix("/run/a.sock".into()), false),
        ] {
            assert_eq!(parse_address(text), Ok((address, https)), "{text}");
        }
        for text in ["ftp://x", "http://", "", "http://x/v1"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_empty_variables_count_as_unset() {
        let environment = |name: &str| match name {
            "CONSUL_HTTP_ADDR" => Some("https://10.0.0.1:8501".to_owned()),
            "CONSUL_HTTP_TOKEN" => Some("from-env".to_owned()),
            "CONSUL_CACERT" => Some(String::new()),
            "CONSUL_HTTP_SSL_VERIFY" => Some("false".to_owned()),
            _ => None,
        };
        let endpoint = ClientFlags::default().endpoint_in(&environment).unwrap();
        assert_eq!(endpoint.address, Address::Tcp("10.0.0.1:8501".to_owned()));
        assert_eq!(endpoint.tls, Some(TlsOptions { verify: false, ..TlsOptions::default() }));
        assert_eq!(endpoint.token.0, "from-env");
        assert!(!format!("{endpoint:?}").contains("from-env"));
        let flags =
            ClientFlags { http_addr: Some("127.0.0.1:1".to_owned()), token: Some("flag".to_owned()), ..ClientFlags::default() };
        let endpoint = flags.endpoint_in(&environment).unwrap();
        assert_eq!((endpoint.address, endpoint.tls), (Address::Tcp("127.0.0.1:1".to_owned()), None));
        assert_eq!(endpoint.token.0, "flag");
        let wrong = |name: &str| (name == "CONSUL_HTTP_SSL").then(|| "maybe".to_owned());
        assert!(ClientFlags::default().endpoint_in(&wrong).unwrap_err().contains("CONSUL_HTTP_SSL"));
    }
}
