//! Numbers of `cli`.

use std::time::Duration;

/// How long a command waits for the agent to accept its connection.
pub const CLI_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a command waits for an answer: longer than the hold for a leader and a leave together.
pub const CLI_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that a command reads: far above any list of a catalog this program is for.
pub const CLI_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// `tls ca create -days`: five years. Consul's number.
pub const CA_DAYS: u32 = 1825;
/// `tls cert create -days`. Consul's number.
pub const CERT_DAYS: u32 = 365;
/// `tls init -servers`: the least that outlives one of them.
pub const INIT_SERVERS: u32 = 3;
/// Numbers tried for `dc1-server-consul-<n>.pem`: more certificates of one kind in one folder are a mistake.
pub const CERT_FILE_NUMBERS: u32 = 10_000;
/// HTTP port of the first datacenter of `demo`, Consul's own, and of the second.
pub const DEMO_HTTP_PORTS: [u16; 2] = [8500, 9500];
