//! The pages of `kontor federation`: tables and findings as an operator reads them. Pure.

use super::table::{layout, row};
use crate::model::federation::{CertificateReport, Examination, Federation, Finding, Level, LinkRole, ServerReport, Voucher};
use std::fmt::Write;

pub(super) fn list(federation: &Federation) -> String {
    let Federation { datacenter, server, datacenters } = federation;
    if datacenters.is_empty() {
        return format!(
            "{server} in {datacenter} knows no other datacenter; join one: kontor join -wan <an address of a server there>\n"
        );
    }
    let mut rows = vec![row(["Datacenter", "State", "Server", "RTT", "Feeds", "Held", "Bytes", "Oldest"])];
    for datacenter in datacenters {
        let (live, feeds) = (datacenter.live(), &datacenter.feeds);
        rows.push(vec![
            datacenter.name.clone(),
            datacenter.state.to_string(),
            live.map_or("-".to_owned(), |server| server.name.clone()),
            millis(live.and_then(|server| server.rtt_millis)),
            feeds.standing.to_string(),
            feeds.held.to_string(),
            bytes(feeds.bytes),
            age(feeds.oldest_age_millis),
        ]);
    }
    layout(&rows, 2)
}

pub(super) fn status(federation: &Federation) -> String {
    let mut text = String::new();
    for datacenter in &federation.datacenters {
        let feeds = &datacenter.feeds;
        let oldest =
            feeds.oldest_age_millis.map_or(String::new(), |_| format!(", the oldest of {}", age(feeds.oldest_age_millis)));
        let held = format!("{} standing, {} answers held ({}){oldest}", feeds.standing, feeds.held, bytes(feeds.bytes));
        let mut facts = vec![
            ("Datacenter:", datacenter.name.clone()),
            ("Seen by:", format!("{} in {}", federation.server, federation.datacenter)),
            ("State:", datacenter.state.to_string()),
        ];
        facts.extend(datacenter.since.iter().map(|since| ("Since:", since.clone())));
        facts.extend(datacenter.cause.iter().map(|cause| ("Cause:", cause.clone())));
        facts.push(("Feeds:", held));
        facts.push(("From there:", format!("{} connections of its servers to this one", datacenter.inbound)));
        for (name, value) in facts {
            // Writing to a String cannot fail.
            _ = writeln!(text, "{name:<12}{value}");
        }
        if !datacenter.servers.is_empty() {
            text.push_str("\nServers\n");
            text.push_str(&layout(&server_rows(&datacenter.servers), 2));
        }
        let traffic = traffic_rows(&datacenter.servers);
        if traffic.len() > 1 {
            text.push_str("\nTraffic since the link is up\n");
            text.push_str(&layout(&traffic, 2));
        }
        for server in &datacenter.servers {
            if let Some(cause) = &server.cause {
                _ = writeln!(text, "\n{}: {cause}", server.name);
            }
        }
    }
    text
}

fn server_rows(servers: &[ServerReport]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Name", "Address", "Gossip", "Link", "RTT", "Since", "Certificate"])];
    for server in servers {
        let link = match server.role {
            Some(LinkRole::Live) => "up (live)".to_owned(),
            Some(LinkRole::Standby) => "up (standby)".to_owned(),
            None => server.link.to_string(),
        };
        let gossip = if server.alive { "alive" } else { "failed" };
        let (rtt, since) = (millis(server.rtt_millis), server.since.as_deref().unwrap_or("-"));
        let certificate = server.certificate.as_ref().map_or("-".to_owned(), certificate);
        rows.push(row([&server.name, &server.address, gossip, &link, &rtt, since, &certificate]));
    }
    rows
}

fn traffic_rows(servers: &[ServerReport]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Name", "Received", "Sent", "Datagrams in", "Datagrams out", "Lost", "Parked"])];
    for server in servers {
        let Some(traffic) = &server.traffic else { continue };
        rows.push(vec![
            server.name.clone(),
            bytes(traffic.bytes_in),
            bytes(traffic.bytes_out),
            traffic.datagrams_in.to_string(),
            traffic.datagrams_out.to_string(),
            traffic.packets_lost.to_string(),
            server.parked.to_string(),
        ]);
    }
    rows
}

fn certificate(certificate: &CertificateReport) -> String {
    let CertificateReport { voucher, fingerprint, expires, days_left } = certificate;
    let how = match voucher {
        Voucher::Ca => "CA".to_owned(),
        Voucher::Pin => format!("pin {}", fingerprint.get(..8).unwrap_or(fingerprint)),
    };
    if certificate.is_for_ever() {
        return how;
    }
    format!("{how}, until {} ({days_left} days)", expires.split('T').next().unwrap_or(expires))
}

pub(super) fn doctor(examinations: &[Examination]) -> String {
    let mut text = String::new();
    for examination in examinations {
        let Examination { datacenter, server, examined, findings } = examination;
        _ = writeln!(text, "{examined}, from {server} in {datacenter}");
        findings.iter().for_each(|found| finding(found, &mut text));
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        let verdict = match (errors, warnings) {
            (0, 0) => "all is fine".to_owned(),
            _ => format!("errors: {errors}, warnings: {warnings}"),
        };
        _ = writeln!(text, "  {verdict}\n");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn finding(finding: &Finding, text: &mut String) {
    let Finding { level, check, about, expected, came, advice } = finding;
    let level = match level {
        Level::Ok => "ok",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    };
    _ = writeln!(text, "  {level:<8}{check:<13}{about}: {came}");
    if let Some(advice) = advice {
        _ = writeln!(text, "          expected: {expected}");
        _ = writeln!(text, "          to do:    {advice}");
    }
}

fn millis(millis: Option<f64>) -> String {
    millis.map_or("-".to_owned(), |millis| format!("{millis:.1}ms"))
}

/// An age, to the tenth of a second.
fn age(millis: Option<u64>) -> String {
    millis.map_or("-".to_owned(), |millis| format!("{}.{}s", millis / 1_000, millis % 1_000 / 100))
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn federation() -> Federation {
        serde_json::from_value(json!({"Datacenter": "dc1", "Server": "s1", "Datacenters": [
            {"Name": "dc2", "State": "alive", "Since": null, "Cause": null, "Inbound": 3,
             "Feeds": {"Standing": 2, "Held": 3, "Bytes": 10240, "OldestAgeMillis": 1270},
             "Servers": [
                {"Name": "s1", "Address": "10.0.2.1:8300", "Alive": true, "Link": "up", "Role": "live", "RttMillis": 50.24,
                 "Since": "2026-01-02T03:04:05Z", "Cause": null, "Parked": 4,
                 "Certificate": {"Voucher": "ca", "Fingerprint": "ab12cd34ef", "Expires": "2027-01-02T03:04:05Z", "DaysLeft": 365},
                 "Traffic": {"BytesIn": 2_000_000, "BytesOut": 100, "DatagramsIn": 20, "DatagramsOut": 30, "PacketsLost": 1}},
                {"Name": "s2", "Address": "10.0.2.2:8300", "Alive": false, "Link": "down", "Role": null, "RttMillis": null,
                 "Since": "2026-01-02T03:04:06Z", "Cause": "unreachable since x: timed out", "Parked": 0,
                 "Certificate": null, "Traffic": null}]},
            {"Name": "dc3", "State": "unreachable", "Since": "2026-01-02T03:04:07Z", "Cause": "unreachable since x: timed out",
             "Inbound": 0, "Feeds": {"Standing": 0, "Held": 0, "Bytes": 0, "OldestAgeMillis": null}, "Servers": []}
        ]}))
        .unwrap()
    }

    #[test]
    fn the_list_has_a_line_for_each_datacenter() {
        assert_eq!(
            list(&federation()),
            "Datacenter  State        Server  RTT     Feeds  Held  Bytes     Oldest\n\
             dc2         alive        s1      50.2ms  2      3     10.0 KiB  1.2s\n\
             dc3         unreachable  -       -       0      0     0 B       -\n"
        );
        assert!(list(&Federation::default()).contains("kontor join -wan"));
    }

    #[test]
    fn the_status_page_has_the_links_and_why_they_are_down() {
        let mut federation = federation();
        let lost = federation.datacenters.pop().unwrap();
        assert_eq!(
            status(&federation),
            "Datacenter: dc2\n\
             Seen by:    s1 in dc1\n\
             State:      alive\n\
             Feeds:      2 standing, 3 answers held (10.0 KiB), the oldest of 1.2s\n\
             From there: 3 connections of its servers to this one\n\
             \n\
             Servers\n\
             Name  Address        Gossip  Link       RTT     Since                 Certificate\n\
             s1    10.0.2.1:8300  alive   up (live)  50.2ms  2026-01-02T03:04:05Z  CA, until 2027-01-02 (365 days)\n\
             s2    10.0.2.2:8300  failed  down       -       2026-01-02T03:04:06Z  -\n\
             \n\
             Traffic since the link is up\n\
             Name  Received  Sent   Datagrams in  Datagrams out  Lost  Parked\n\
             s1    1.9 MiB   100 B  20            30             1     4\n\
             \n\
             s2: unreachable since x: timed out\n"
        );
        federation.datacenters = vec![lost];
        let page = status(&federation);
        assert!(page.contains("Since:      2026-01-02T03:04:07Z\nCause:      unreachable since x: timed out\n"), "{page}");
        assert!(!page.contains("Servers\n"), "{page}");
    }

    #[test]
    fn a_certificate_that_is_pinned_has_no_date_to_remember() {
        let mut report = federation().datacenters[0].servers[0].certificate.clone().unwrap();
        (report.voucher, report.days_left) = (Voucher::Pin, 700_000);
        assert_eq!(certificate(&report), "pin ab12cd34");
    }

    #[test]
    fn findings_say_what_to_do_when_there_is_something_to_do() {
        let examinations: Vec<Examination> = serde_json::from_value(json!([
            {"Datacenter": "dc1", "Server": "s1", "Examined": "dc2", "Findings": [
                {"Level": "ok", "Check": "port", "About": "s1.dc2", "Expected": "an answer", "Came": "it answers", "Advice": null},
                {"Level": "error", "Check": "way-back", "About": "s1.dc2 -> s1.dc1", "Expected": "an answer", "Came": "nothing",
                 "Advice": "open the port"}]},
            {"Datacenter": "dc1", "Server": "s1", "Examined": "dc3", "Findings": []}
        ]))
        .unwrap();
        assert_eq!(
            doctor(&examinations),
            "dc2, from s1 in dc1\n\
             \x20 ok      port         s1.dc2: it answers\n\
             \x20 ERROR   way-back     s1.dc2 -> s1.dc1: nothing\n\
             \x20         expected: an answer\n\
             \x20         to do:    open the port\n\
             \x20 errors: 1, warnings: 0\n\
             \n\
             dc3, from s1 in dc1\n\
             \x20 all is fine\n"
        );
    }

    #[test]
    fn sizes_are_told_in_their_unit() {
        assert_eq!([0, 1_023, 1_024, 5 << 20, u64::MAX].map(bytes), ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "16777216.0 TiB"]);
    }
}
