//! From an event to a line in Consul's layout, as text or as JSON.

use serde_json::{Map, Value};
use std::fmt::{self, Debug};
use time::OffsetDateTime;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The subsystems by the beginning of a module's path; the first that fits counts.
const SUBSYSTEMS: [(&str, &str); 12] = [
    ("raft", "agent.server.raft"),
    ("leader", "agent.leader"),
    ("router", "agent.router"),
    ("gossip", "agent.serf"),
    ("bridge", "agent.bridge"),
    ("http", "agent.http"),
    ("rpc", "agent.rpc"),
    ("store", "agent.fsm"),
    ("tls", "agent.tls"),
    ("local::checks", "agent.checks"),
    ("local", "agent.local"),
    ("watch", "agent.watch"),
];

/// The name of the part of the program that a module belongs to; a library has its own.
fn subsystem(target: &str) -> &str {
    let (first, rest) = target.split_once("::").unwrap_or((target, ""));
    if first != "kontor" {
        return first;
    }
    let speaks =
        |(start, _): &&(&str, &str)| rest.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    SUBSYSTEMS.iter().find(speaks).map_or("agent", |(_, name)| name)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    /// `log_json`
    pub(super) json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::of(event);
        // Events of the crate `log` have their module in a field.
        let target = said.target.take().unwrap_or_else(|| event.metadata().target().to_owned());
        let line = Line { at: OffsetDateTime::now_utc(), level: *event.metadata().level(), subsystem: subsystem(&target), said };
        if self.json { line.as_json(writer) } else { line.as_text(writer) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) message: String,
    /// The module of an event of the crate `log`.
    pub(super) target: Option<String>,
    fields: Vec<(&'static str, Value)>,
}

impl Said {
    pub(super) fn of(event: &Event<'_>) -> Said {
        let mut said = Said::default();
        event.record(&mut said);
        said
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("log.target", Value::String(text)) => self.target = Some(text),
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.fields.push((name.strip_prefix("r#").unwrap_or(name), value)),
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }
}

struct Line<'a> {
    at: OffsetDateTime,
    level: Level,
    subsystem: &'a str,
    said: Said,
}

impl Line<'_> {
    /// `2020-11-01T10:00:00.000Z [INFO]  agent.http: message: key=value`
    fn as_text(&self, mut writer: Writer<'_>) -> fmt::Result {
        let at = self.at.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"));
        let level = format!("[{}]", self.level);
        write!(writer, "{} ", at.map_err(|_| fmt::Error)?)?;
        match colour(self.level) {
            Some(colour) if writer.has_ansi_escapes() => write!(writer, "\x1b[{colour}m{level:<7}\x1b[0m")?,
            _ => write!(writer, "{level:<7}")?,
        }
        write!(writer, " {}:", self.subsystem)?;
        if !self.said.message.is_empty() {
            let end = if self.said.fields.is_empty() { "" } else { ":" };
            write!(writer, " {}{end}", self.said.message)?;
        }
        for (name, value) in &self.said.fields {
            write!(writer, " {name}=")?;
            match value {
                Value::String(text) if needs_quotes(text) => write!(writer, "{text:?}")?,
                Value::String(text) => writer.write_str(text)?,
                other => write!(writer, "{other}")?,
            }
        }
        writeln!(writer)
    }

    /// One object with the keys of Consul's JSON log.
    fn as_json(&self, mut writer: Writer<'_>) -> fmt::Result {
        let at = self.at.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"));
        let mut line = Map::new();
        line.insert("@level".to_owned(), Value::from(self.level.as_str().to_lowercase()));
        line.insert("@message".to_owned(), Value::from(self.said.message.as_str()));
        line.insert("@module".to_owned(), Value::from(self.subsystem));
        line.insert("@timestamp".to_owned(), Value::from(at.map_err(|_| fmt::Error)?));
        line.extend(self.said.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// True if a value without quotes could be read as several.
fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='))
}

fn colour(level: Level) -> Option<u8> {
    match level {
        Level::ERROR => Some(31),
        Level::WARN => Some(33),
        Level::INFO => Some(32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracing_subscriber::layer::SubscriberExt;

    fn lines(json: bool, say: impl FnOnce()) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let layer = tracing_subscriber::fmt::layer().event_format(Lines { json }).with_ansi(false);
        let log = tracing_subscriber::registry().with(layer.with_writer(file.reopen().unwrap()));
        super::super::hear_all();
        tracing::subscriber::with_default(log, say);
        std::fs::read_to_string(file.path()).unwrap().lines().map(str::to_owned).collect()
    }

    fn say() {
        let error = io::Error::other("no \"way\"");
        tracing::warn!(target: "kontor::raft::node", node = %"s1", %error, tries = 3, up = true, empty = "", "the leader is gone");
        tracing::info!(target: "kontor::local::checks::probe", "line\nbreak");
        tracing::error!(target: "rustls::conn", cause = %"a=b");
    }

    #[test]
    fn lines_say_what_speaks_and_quote_values_that_need_it() {
        let lines = lines(false, say);
        let after_time: Vec<&str> = lines.iter().filter_map(|line| line.split_once("Z ").map(|(_, rest)| rest)).collect();
        assert_eq!(
            after_time,
            [
                r#"[WARN]  agent.server.raft: the leader is gone: node=s1 error="no \"way\"" tries=3 up=true empty="""#,
                "[INFO]  agent.checks: line",
                r#"[ERROR] rustls: cause="a=b""#,
            ]
        );
        assert_eq!(lines[0].find('Z'), Some("2020-11-01T10:00:00.000".len()));
    }

    #[test]
    fn json_has_consuls_keys() {
        let lines = lines(true, say);
        let first: Value = serde_json::from_str(&lines[0]).unwrap();
        let at = first["@timestamp"].as_str().unwrap();
        assert_eq!(at.len(), "2020-11-01T10:00:00.000000Z".len());
        let expected = serde_json::json!({
            "@level": "warn", "@message": "the leader is gone", "@module": "agent.server.raft", "@timestamp": at,
            "node": "s1", "error": "no \"way\"", "tries": 3, "up": true, "empty": ""
        });
        assert_eq!(first, expected);
        assert_eq!(serde_json::from_str::<Value>(&lines[1]).unwrap()["@message"], "line\nbreak");
    }

    #[test]
    fn each_module_belongs_to_one_subsystem() {
        for (target, expected) in [
            ("kontor::gossip::driver", "agent.serf"),
            ("kontor::local", "agent.local"),
            ("kontor::local::checksum", "agent.local"),
            ("kontor::agent::run", "agent"),
            ("kontor", "agent"),
            ("openraft::core", "openraft"),
        ] {
            assert_eq!(subsystem(target), expected, "{target}");
        }
    }
}
