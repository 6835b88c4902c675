//! The faults on the way to a datacenter and back, judged from the evidence of `probe`. Pure.

use super::UnresolvedName;
use super::dialled::{DialBack, Dialled, Met};
use super::link::{BY_OTHERS, Cause, REFUSED_BY_OTHERS};
use crate::defaults;
use crate::model::fault::Fault;
use crate::model::federation::{CertificateReport, Check, Finding, Level, Voucher};
use std::collections::BTreeSet;
use std::time::Duration;

/// The facts that were seen.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) own_dc: String,
    /// This server.
    pub(super) own_server: String,
    /// The datacenter that was examined.
    pub(super) dc: String,
    /// Configured names of its servers that cannot be resolved.
    pub(super) unresolved: Vec<UnresolvedName>,
    /// The number of its servers that are known.
    pub(super) known: usize,
    /// The number of connections that its servers hold to this one.
    pub(super) inbound: usize,
    /// Its own word for not dealing with this datacenter, where it has given one and nothing since.
    pub(super) refused: Option<String>,
    /// The outcomes of dialling them.
    pub(super) dialled: Vec<Dialled>,
    /// The findings of one of them on the way here, or why it could not be asked.
    pub(super) back: Result<DialBack, Fault>,
}

/// All findings: server by server, then the way back.
pub(super) fn findings(evidence: &Evidence) -> Vec<Finding> {
    let mut found = Vec::new();
    if evidence.known > evidence.dialled.len() {
        let came = format!("{} are known, the first {} were dialled", evidence.known, evidence.dialled.len());
        found.push(ok(Check::Servers, &evidence.dc, "the servers of a datacenter", came));
    }
    for UnresolvedName { name, cause, .. } in &evidence.unresolved {
        let advice = format!("correct {name} under {} in `federation`, or the DNS that this host asks", evidence.dc);
        found.push(error(Check::Name, name, "a name that can be resolved", cause.clone(), advice));
    }
    for dialled in &evidence.dialled {
        let way = Way {
            from: format!("{}.{}", evidence.own_server, evidence.own_dc),
            to: format!("{}.{}", dialled.label(), evidence.dc),
            dc_of_to: &evidence.dc,
            dc_of_from: &evidence.own_dc,
        };
        match &dialled.outcome {
            Ok(met) => met_findings(&way, dialled, met, &mut found),
            // A datacenter that has removed this one knows its fingerprints no more; its word from before is the reason.
            Err(Cause::NotYetKnown) if let Some(why) = &evidence.refused => {
                found.push(way.failure(dialled, &Cause::Refused(why.clone())));
            }
            Err(cause) => found.push(way.failure(dialled, cause)),
        }
    }
    match &evidence.back {
        Ok(back) => way_back(evidence, back, &mut found),
        Err(fault) => found.push(no_way_back(evidence, fault)),
    }
    found
}

/// From the server that dials to the one dialled.
struct Way<'a> {
    from: String,
    to: String,
    dc_of_from: &'a str,
    dc_of_to: &'a str,
}

impl Way<'_> {
    /// The reason of the failed dial, and the remedy.
    fn failure(&self, dialled: &Dialled, cause: &Cause) -> Finding {
        if dialled.addr.ip().is_unspecified() || dialled.addr.port() == 0 {
            return error(
                Check::Address,
                &self.to,
                "an address that others can reach",
                format!("{} in the WAN pool", dialled.addr),
                format!("set advertise_addr_wan on {}", self.to),
            );
        }
        match cause {
            Cause::TlsRefused(text) => self.refusal(text),
            Cause::NotYetKnown => error(
                Check::Certificate,
                &self.to,
                "a certificate that is known by its fingerprint, on both sides",
                "not-yet-known: one of the two has not heard the other's fingerprint yet",
                "normal for some seconds after a join; if it lasts, gossip does not get through: open port 8302, tcp and udp, both \
                 ways, or list each other's fingerprints under `federation`, or give both datacenters certificates of one CA",
            ),
            Cause::Refused(text) => self.closed(text),
            Cause::Unreachable(text) => self.silence(dialled, text),
        }
    }

    /// The operators of one side have closed the other.
    fn closed(&self, text: &str) -> Finding {
        let (near, far) = (self.dc_of_from, self.dc_of_to);
        let (word, by, other) = match text.strip_prefix(REFUSED_BY_OTHERS) {
            Some(word) => (word, far, near),
            None => (text, near, far),
        };
        let advice = match word {
            "removed" => format!(
                "if {other} shall be let in again: on a server of {by}, `kontor join -wan <an address of {other}>` or PUT \
                 /v1/federation/readmit/{other}"
            ),
            "disabled" => {
                format!("if {other} shall be let in again: take it off `bridge {{ disabled }}` in {by}, and reload there")
            }
            _ => format!("look at the logs of {by}"),
        };
        error(Check::Servers, &self.to, "two datacenters that deal with each other", format!("{word} by {by}"), advice)
    }

    fn silence(&self, dialled: &Dialled, text: &str) -> Finding {
        let (addr, port, to) = (dialled.addr, dialled.addr.port(), &self.to);
        let (came, advice) = if !dialled.is_named() {
            let advice = format!(
                "look whether {addr} is the right address of a server there and the server runs; if so, port {port} udp is blocked \
                 between {} and {addr}: let UDP datagrams and their answers through",
                self.from
            );
            (format!("UDP {port} does not answer: {text}"), advice)
        } else if dialled.alive {
            let advice = format!(
                "port {port} udp is blocked between {} and {addr}, or the agent there stands still: let UDP datagrams to {addr} \
                 and their answers through every firewall on the way",
                self.from
            );
            (format!("alive by gossip, but UDP {port} does not answer: {text}"), advice)
        } else {
            let advice = format!(
                "start the server, or mend the way to it; if it is gone for good: kontor force-leave -wan {to}, there or here"
            );
            (format!("failed by gossip, and UDP {port} does not answer: {text}"), advice)
        };
        error(Check::Port, to, format!("an answer from {addr} udp"), came, advice)
    }

    /// A certificate that was refused, or a handshake that failed for another reason.
    fn refusal(&self, text: &str) -> Finding {
        let (by_dialled, text) = text.strip_prefix(BY_OTHERS).map_or((false, text), |text| (true, text));
        let (holder, judge, dc) =
            if by_dialled { (&self.from, &self.to, self.dc_of_from) } else { (&self.to, &self.from, self.dc_of_to) };
        let create = format!("kontor tls cert create -server -dc {dc}");
        let advice = match text.split_once(':').map_or(text, |(word, _)| word) {
            "wrong-datacenter" => format!("give {holder} a certificate of its own datacenter ({create}), or correct its address"),
            "expired" => format!("make {holder} a new certificate ({create}) and reload it; if its date is good, set the clocks"),
            "not-yet-valid" => format!("set the clocks of {holder} and {judge}: one of them is wrong"),
            "another-ca" => {
                format!("sign the certificates of {holder} and {judge} by one CA, and name that CA in ca_file of both")
            }
            "pin-mismatch" => format!(
                "restart {holder} if its key was replaced, so that it tells the new fingerprint (or correct the one behind its \
                 entry in `federation`); if it was not, somebody else answers at its address"
            ),
            "require-ca" => {
                format!("give {holder} a certificate of the CA ({create}), or set bridge {{ require_ca = false }} on {judge}")
            }
            "malformed" => format!("give {holder} a certificate with the one name server.{dc}.<domain> ({create})"),
            _ if text.contains("protocol") => {
                let expected = "a common version of the bridge's protocol";
                let advice = "look whether something else listens at that address, and run releases that are one apart at most";
                return error(Check::Protocol, &self.to, expected, text, advice);
            }
            _ if text.starts_with("expected a server of") => format!("correct -datacenter of {holder}"),
            _ => format!("look at the logs of {holder} and {judge}"),
        };
        let expected = format!("a certificate of {holder} that {judge} accepts");
        error(Check::Certificate, &self.to, expected, text, advice)
    }
}

fn met_findings(way: &Way<'_>, dialled: &Dialled, met: &Met, found: &mut Vec<Finding>) {
    let to = &way.to;
    let came = format!("it answers, with a round trip of {:.1} ms", met.rtt.as_secs_f64() * 1_000.0);
    found.push(ok(Check::Port, to, format!("an answer from {} udp", dialled.addr), came));
    found.push(ok(Check::Protocol, to, "a common version of the bridge's protocol", met.protocol.clone()));
    found.extend(met.certificate.as_ref().map(|certificate| judge_certificate(way, certificate)));
    found.extend(met.clock_ahead.map(|ahead| judge_clock(way, ahead)));
    if dialled.is_named() && met.name != dialled.server {
        found.push(warning(
            Check::Address,
            to,
            format!("{to} at {}", dialled.addr),
            format!("{:?} answers there", met.name),
            "two servers announce one address: correct advertise_addr_wan of one of them",
        ));
    }
    if !dialled.alive {
        found.push(warning(
            Check::Gossip,
            to,
            "alive by gossip, as its link shows it to be",
            "failed by gossip, though its bridge answers",
            "let port 8302, tcp and udp, through both ways: gossip brings new servers, new addresses and new fingerprints",
        ));
    }
}

fn judge_certificate(way: &Way<'_>, certificate: &CertificateReport) -> Finding {
    let vouched = match certificate.voucher {
        Voucher::Ca => "of the CA",
        Voucher::Pin => "known by its fingerprint",
    };
    let CertificateReport { expires, days_left, .. } = certificate;
    let until = if certificate.is_for_ever() { String::new() } else { format!(", valid until {expires}") };
    let came = format!("accepted, {vouched}{until}");
    if *days_left >= defaults::CERTIFICATE_SOON_DAYS {
        return ok(Check::Certificate, &way.to, "a certificate that is accepted", came);
    }
    let expected = format!("a certificate that is valid for {} days more", defaults::CERTIFICATE_SOON_DAYS);
    let advice = format!("make {} a new one (kontor tls cert create -server -dc {}) and reload it", way.to, way.dc_of_to);
    warning(Check::Certificate, &way.to, expected, format!("{came}, in {days_left} days"), advice)
}

fn judge_clock(way: &Way<'_>, ahead: i64) -> Finding {
    let span = Duration::from_millis(ahead.unsigned_abs());
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let came = format!("its clock is {:.3} s {side} the one of {}", span.as_secs_f64(), way.from);
    let expected = format!("clocks at most {} s apart", defaults::DOCTOR_CLOCK_TOLERANCE.as_secs());
    if span <= defaults::DOCTOR_CLOCK_TOLERANCE {
        return ok(Check::Clock, &way.to, expected, came);
    }
    let advice = "set both clocks by NTP: certificates are judged by them, and times in logs do not fit together";
    warning(Check::Clock, &way.to, expected, came, advice)
}

fn way_back(evidence: &Evidence, back: &DialBack, found: &mut Vec<Finding>) {
    let Evidence { own_dc, own_server, dc, .. } = evidence;
    let from = format!("{}.{dc}", back.server);
    if !back.dialled.iter().any(|dialled| dialled.label() == own_server) {
        let expected = format!("{from} to know {own_server}.{own_dc}");
        let (came, advice) = if back.dialled.is_empty() {
            let advice = format!(
                "kontor join -wan <an address of {dc}>, on a server of {own_dc}; or, without a WAN pool, list {own_dc} under \
                 `federation` in {dc} too"
            );
            (format!("it knows no server of {own_dc}"), advice)
        } else {
            let known: Vec<&str> = back.dialled.iter().map(Dialled::label).collect();
            let advice = "right after a start this is normal; if it lasts, open port 8302, tcp and udp, both ways";
            (format!("it knows of {own_dc}: {}", known.join(", ")), advice.to_owned())
        };
        found.push(error(Check::WayBack, &from, expected, came, advice));
    }
    for dialled in &back.dialled {
        let way = Way { from: from.clone(), to: format!("{}.{own_dc}", dialled.label()), dc_of_to: own_dc, dc_of_from: dc };
        let about = format!("{} -> {}", way.from, way.to);
        match &dialled.outcome {
            Ok(met) => {
                let came = format!("it is answered, with a round trip of {:.1} ms", met.rtt.as_secs_f64() * 1_000.0);
                found.push(ok(Check::WayBack, &about, format!("an answer from {} udp", dialled.addr), came));
            }
            Err(cause) => found.push(Finding { check: Check::WayBack, about, ..way.failure(dialled, cause) }),
        }
    }
}

/// The finding about a way back that could not be asked about.
fn no_way_back(evidence: &Evidence, fault: &Fault) -> Finding {
    let Evidence { own_dc, own_server, dc, inbound, .. } = evidence;
    let about = format!("{dc} -> {own_dc}");
    let expected = format!("a server of {dc} that dials back");
    let reached = evidence.dialled.iter().any(|dialled| dialled.outcome.is_ok());
    if reached {
        let advice = "no link stands at this moment, or the server there is busy: look again";
        return error(Check::WayBack, &about, expected, fault.to_string(), advice);
    }
    if *inbound > 0 {
        let came = format!("one-way path: {dc} holds {inbound} connections to {own_server}, and none is to be had the other way");
        let ports: BTreeSet<u16> = evidence.dialled.iter().map(|dialled| dialled.addr.port()).collect();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let ports = ports.join(", ");
        let advice =
            format!("let UDP datagrams from {own_server} to the bridges of {dc} (port {ports}) through: the way here is open");
        return error(Check::WayBack, &about, expected, came, advice);
    }
    let came = format!("nobody there could be asked: {fault}; no server of {dc} holds a connection to {own_server}");
    let advice =
        format!("mend the way there first; kontor federation doctor {own_dc}, on a server of {dc}, looks at this way alone");
    warning(Check::WayBack, &about, expected, came, advice)
}

fn ok(check: Check, about: &str, expected: impl Into<String>, came: impl Into<String>) -> Finding {
    let (expected, came) = (expected.into(), came.into());
    Finding { level: Level::Ok, check, about: about.to_owned(), expected, came, advice: None }
}

fn warning(
    check: Check,
    about: &str,
    expected: impl Into<String>,
    came: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding { level: Level::Warning, advice: Some(advice.into()), ..ok(check, about, expected, came) }
}

fn error(check: Check, about: &str, expected: impl Into<String>, came: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { level: Level::Error, ..warning(check, about, expected, came, advice) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::FaultKind;

    fn dialled(outcome: Result<Met, Cause>) -> Dialled {
        Dialled { server: "s2".to_owned(), addr: "10.0.0.2:8300".parse().unwrap(), alive: true, outcome }
    }

    fn met() -> Met {
        let name = "s2".to_owned();
        Met { name, protocol: "p/1".to_owned(), rtt: Duration::from_millis(5), clock_ahead: None, certificate: None }
    }

    fn seen(dialled: Vec<Dialled>, back: Result<DialBack, Fault>) -> Evidence {
        let [own_dc, own_server, dc] = ["dc1", "s1", "dc2"].map(str::to_owned);
        Evidence { own_dc, own_server, dc, unresolved: vec![], known: dialled.len(), inbound: 0, refused: None, dialled, back }
    }

    fn only(dialled: Dialled, check: Check) -> Finding {
        let found = findings(&seen(vec![dialled], Err(Fault::unreachable("x"))));
        found.into_iter().find(|finding| finding.check == check).unwrap()
    }

    #[test]
    fn clocks_are_told_from_half_a_minute_on() {
        for (ahead, level, text) in [
            (29_000, Level::Ok, "29.000 s ahead of the one of s1.dc1"),
            (-30_000, Level::Ok, "30.000 s behind the one of s1.dc1"),
            (30_001, Level::Warning, "30.001 s ahead of"),
            (-31_536_000_000, Level::Warning, "31536000.000 s behind"),
            (i64::MIN, Level::Warning, "behind"),
        ] {
            let finding = only(dialled(Ok(Met { clock_ahead: Some(ahead), ..met() })), Check::Clock);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.came.contains(text), "{finding:?}");
        }
    }

    #[test]
    fn a_refused_certificate_is_mended_by_whoever_holds_it() {
        let advice = |text: &str| {
            let finding = only(dialled(Err(Cause::TlsRefused(text.to_owned()))), Check::Certificate);
            assert_eq!(finding.level, Level::Error);
            (finding.expected, finding.advice.unwrap())
        };
        let (expected, todo) = advice("expired: its certificate was valid until x");
        assert_eq!(expected, "a certificate of s2.dc2 that s1.dc1 accepts");
        assert!(todo.contains("make s2.dc2 a new certificate (kontor tls cert create -server -dc dc2)"), "{todo}");
        let (expected, todo) = advice("by the other side: expired: its certificate was valid until x");
        assert_eq!(expected, "a certificate of s1.dc1 that s2.dc2 accepts");
        assert!(todo.contains("make s1.dc1 a new certificate (kontor tls cert create -server -dc dc1)"), "{todo}");
        for word in
            ["not-yet-valid: x", "another-ca: x", "pin-mismatch: x", "require-ca: x", "malformed: x", "by the other side: x"]
        {
            assert!(advice(word).1.contains("s2.dc2"), "{word}");
        }
        let finding =
            only(dialled(Err(Cause::TlsRefused("peer doesn't support any known protocol".to_owned()))), Check::Protocol);
        assert_eq!(finding.level, Level::Error);
    }

    #[test]
    fn who_has_removed_us_says_so_though_it_knows_our_fingerprint_no_more() {
        let unknown = || seen(vec![dialled(Err(Cause::NotYetKnown))], Err(Fault::unreachable("x")));
        assert_eq!(findings(&unknown())[0].check, Check::Certificate);
        let said = Some("refused by the other side: removed".to_owned());
        let finding = findings(&Evidence { refused: said, ..unknown() }).swap_remove(0);
        assert_eq!((finding.check, finding.came.as_str()), (Check::Servers, "removed by dc2"));
        let advice = finding.advice.unwrap();
        assert!(advice.contains("on a server of dc2") && advice.contains("readmit/dc1") && !advice.contains("8302"), "{advice}");
        let ours = only(dialled(Err(Cause::Refused("disabled".to_owned()))), Check::Servers);
        assert_eq!(ours.came, "disabled by dc1");
    }

    #[test]
    fn an_address_that_nobody_can_reach_is_told_before_anything_else() {
        let nowhere = Dialled { addr: "0.0.0.0:8300".parse().unwrap(), ..dialled(Err(Cause::Unreachable("x".to_owned()))) };
        let finding = only(nowhere, Check::Address);
        assert!(finding.advice.unwrap().contains("advertise_addr_wan on s2.dc2"));
    }

    #[test]
    fn another_server_at_the_address_is_told() {
        let finding = only(dialled(Ok(Met { name: "s9".to_owned(), ..met() })), Check::Address);
        assert_eq!((finding.level, finding.came.as_str()), (Level::Warning, "\"s9\" answers there"));
    }

    #[test]
    fn of_a_server_that_is_configured_by_its_address_no_name_and_no_gossip_is_told() {
        let listed = |outcome| Dialled { server: "10.0.0.2:8300".to_owned(), ..dialled(outcome) };
        let found = findings(&seen(vec![listed(Ok(met()))], Err(Fault::unreachable("x"))));
        assert!(found.iter().all(|finding| finding.check != Check::Address), "{found:?}");
        assert_eq!(found[0].about, "s2.dc2", "it has said its name");
        let silent = only(listed(Err(Cause::Unreachable("timed out".to_owned()))), Check::Port);
        assert!(silent.came.starts_with("UDP 8300 does not answer"), "{silent:?}");
        let back = DialBack { server: "s2".to_owned(), dialled: vec![listed(Ok(Met { name: "s1".to_owned(), ..met() }))] };
        let found = findings(&seen(vec![], Ok(back)));
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:?}");
    }

    #[test]
    fn what_was_not_dialled_is_told() {
        let found = findings(&Evidence { known: 40, ..seen(vec![dialled(Ok(met()))], Err(Fault::unreachable("x"))) });
        assert_eq!((found[0].check, found[0].came.as_str()), (Check::Servers, "40 are known, the first 1 were dialled"));
    }

    #[test]
    fn a_way_back_that_cannot_be_asked_about_is_judged_by_what_is_known() {
        let busy = || Fault::new(FaultKind::Busy, "busy");
        let lost = || dialled(Err(Cause::Unreachable("timed out".to_owned())));
        let last = |evidence: &Evidence| findings(evidence).pop().unwrap();
        assert_eq!(last(&seen(vec![dialled(Ok(met()))], Err(busy()))).level, Level::Error);
        assert_eq!(last(&seen(vec![lost()], Err(busy()))).level, Level::Warning);
        let one_way = last(&Evidence { inbound: 2, ..seen(vec![lost()], Err(busy())) });
        assert!(one_way.came.contains("one-way path: dc2 holds 2 connections to s1"), "{one_way:?}");
    }

    #[test]
    fn the_way_back_has_the_ends_the_other_way_round() {
        let ours = Dialled { server: "s1".to_owned(), ..dialled(Err(Cause::TlsRefused("expired: x".to_owned()))) };
        let back = DialBack { server: "s2".to_owned(), dialled: vec![ours] };
        let found = findings(&seen(vec![], Ok(back))).pop().unwrap();
        assert_eq!((found.check, found.about.as_str()), (Check::WayBack, "s2.dc2 -> s1.dc1"));
        assert_eq!(found.expected, "a certificate of s1.dc1 that s2.dc2 accepts");
    }
}
