//! Docker checks: a command run inside a container, judged by its exit code. One run at a time: it cannot be ended from outside.

use super::connect::{Address, connect, plain};
use super::exchange::{Answer, ask};
use super::finding::Finding;
use super::process::Command;
use super::script::{by_exit_code, timed_out};
use crate::defaults::{CHECK_BODY_BYTES, CHECK_DOCKER_ANSWER_BYTES, DOCKER_SOCKET};
use crate::model::uri;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::net::UnixStream;
use tokio::time::timeout;

#[derive(Debug)]
pub(super) struct DockerProbe {
    container: String,
    command: Command,
    engine: Result<Engine, String>,
    /// The run that took too long, until the engine says that it has ended.
    late: Mutex<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Engine {
    Unix(PathBuf),
    Tcp(Address),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    running: bool,
    exit_code: Option<i64>,
}

impl DockerProbe {
    /// The probe that runs `command` in `container`, with the engine that `DOCKER_HOST` names.
    pub(super) fn new(container: &str, command: Command) -> DockerProbe {
        let engine = Engine::read(&std::env::var("DOCKER_HOST").unwrap_or_default());
        DockerProbe { container: container.to_owned(), command, engine, late: Mutex::new(None) }
    }

    /// Runs the command once.
    pub(super) async fn run(&self) -> Finding {
        let mut output = Answer::of_frames(self.command.output_max, u64::MAX);
        match timeout(self.command.timeout, self.exec(&mut output)).await {
            Ok(Ok(code)) => Finding::new(by_exit_code(code), output.body.noted()),
            Ok(Err(why)) => Finding::critical(why),
            Err(_elapsed) => {
                metrics::counter!("kontor.checks.timed_out").increment(1);
                Finding::critical(timed_out(self.command.timeout, &output.body.noted()))
            }
        }
    }

    async fn exec(&self, output: &mut Answer) -> Result<Option<i64>, String> {
        let container = &self.container;
        let late = self.late().clone();
        if let Some(late) = late
            && self.inspect(&late).await.is_ok_and(|state| state.running)
        {
            return Err(format!("the last run in container {container} has not ended yet"));
        }
        let exec = self.create().await?;
        *self.late() = Some(exec.clone());
        // Without a terminal, which would lose one of the two outputs or change its line ends.
        let how = json!({"Detach": false, "Tty": false});
        let start = request("POST", format!("/exec/{exec}/start"), Some(how))?;
        self.step("start", start, output, &format!(" for container {container}: invalid exec id {exec}")).await?;
        let state = self.inspect(&exec).await?;
        if !state.running {
            *self.late() = None;
        }
        Ok(state.exit_code)
    }

    async fn create(&self) -> Result<String, String> {
        let container = &self.container;
        let how = json!({
            "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": self.command.args,
        });
        let request = request("POST", format!("/containers/{}/exec", escaped(container)), Some(how))?;
        let mut answer = Answer::new(CHECK_DOCKER_ANSWER_BYTES, CHECK_BODY_BYTES);
        self.step("create", request, &mut answer, &format!(" for unknown container {container}")).await?;
        let created: Created = self.parse("create", &mut answer)?;
        Ok(escaped(&created.id))
    }

    async fn inspect(&self, exec: &str) -> Result<Inspected, String> {
        let request = request("GET", format!("/exec/{exec}/json"), None)?;
        let mut answer = Answer::new(CHECK_DOCKER_ANSWER_BYTES, CHECK_BODY_BYTES);
        let unknown = format!(" for container {}: invalid exec id {exec}", self.container);
        self.step("inspect", request, &mut answer, &unknown).await?;
        self.parse("inspect", &mut answer)
    }

    /// Takes one step of a run. Its error is in Consul's words; `unknown` follows them for a 404.
    async fn step(&self, step: &str, request: Request<Full<Bytes>>, answer: &mut Answer, unknown: &str) -> Result<(), String> {
        let container = &self.container;
        let failed = |why: String| format!("{step} exec failed{why}");
        self.ask(request, answer).await.map_err(|why| failed(format!(" for container {container}: {why}")))?;
        match answer.head.as_ref().map_or(StatusCode::INTERNAL_SERVER_ERROR, |head| head.status) {
            StatusCode::OK | StatusCode::CREATED => Ok(()),
            StatusCode::NOT_FOUND => Err(failed(unknown.to_owned())),
            StatusCode::CONFLICT => Err(failed(format!(" since container {container} is paused or stopped"))),
            other => {
                let body = answer.body.text();
                Err(failed(format!(" for container {container} with status {}: {body}", other.as_u16())))
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, step: &str, answer: &mut Answer) -> Result<T, String> {
        serde_json::from_str(&answer.body.text())
            .map_err(|error| format!("{step} exec failed for container {}: {error}", self.container))
    }

    async fn ask(&self, request: Request<Full<Bytes>>, answer: &mut Answer) -> Result<(), String> {
        match self.engine.as_ref()? {
            Engine::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| format!("dial unix {}: connect: {}", path.display(), plain(&error)))?;
                ask(stream, request, answer, |_head| true).await
            }
            Engine::Tcp(address) => ask(connect(address, None).await?, request, answer, |_head| true).await,
        }
    }

    fn late(&self) -> MutexGuard<'_, Option<String>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Parses `DOCKER_HOST`; empty for the usual socket.
    fn read(host: &str) -> Result<Engine, String> {
        let tcp = |address: &str| {
            if address.contains('@') {
                return Err(format!("DOCKER_HOST: expected an address without a user, got {:?}", uri::shown(host)));
            }
            let address = address.trim_end_matches('/');
            let address = if address.contains(':') { address.to_owned() } else { format!("{address}:2375") };
            Address::parse(&address).map(Engine::Tcp).map_err(|why| format!("DOCKER_HOST: {why}"))
        };
        match host.split_once("://") {
            None if host.is_empty() => Ok(Engine::Unix(PathBuf::from(DOCKER_SOCKET))),
            Some(("unix", path)) => Ok(Engine::Unix(PathBuf::from(path))),
            Some(("tcp" | "http", address)) => tcp(address),
            _ => Err(format!("DOCKER_HOST: expected unix://, tcp:// or http://, got {:?}", uri::shown(host))),
        }
    }
}

fn request(method: &str, path: String, body: Option<Value>) -> Result<Request<Full<Bytes>>, String> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header(HOST, "docker");
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)));
    request.map_err(|error| format!("docker: {error}"))
}

/// `text` as one part of a path.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_where_the_environment_says() {
        assert_eq!(Engine::read(""), Ok(Engine::Unix(PathBuf::from("/var/run/docker.sock"))));
        assert_eq!(Engine::read("unix:///run/d.sock"), Ok(Engine::Unix(PathBuf::from("/run/d.sock"))));
        let tcp = |port| Ok(Engine::Tcp(Address { host: "h".to_owned(), port }));
        for secret in ["tcp://user:s3cret@h:1", "ssh://user:s3cret@h"] {
            assert!(!Engine::read(secret).expect_err("refused").contains("s3cret"));
        }
        assert_eq!(Engine::read("tcp://h:1/"), tcp(1));
        assert_eq!(Engine::read("tcp://h"), tcp(2375));
        assert!(Engine::read("ssh://h").expect_err("refused").contains("DOCKER_HOST"));
    }

    #[test]
    fn names_of_containers_stay_one_part_of_a_path() {
        assert_eq!(escaped("web_1.a-b"), "web_1.a-b");
        assert_eq!(escaped("../x y"), "..%2Fx%20y");
    }
}
