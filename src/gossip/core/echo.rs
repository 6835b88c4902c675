//! Round-trip times: a packet to the probed member and back, with both coordinates. It decides nothing about life.

use super::super::vivaldi::is_plausible;
use super::*;
use serde::{Deserialize, Serialize};

/// A measurement and its answer; both carry the sender's coordinate. Bytes behind it are padding.
#[derive(Debug, Serialize, Deserialize)]
struct Echo {
    token: u64,
    name: String,
    coordinate: Coordinate,
}

/// The most bytes of an echo without its sender: a token, two lengths, three numbers.
pub(super) const SHORT_ECHO_BYTES: usize = 10 + 1 + 1 + 3 * 8;

impl Core {
    /// Sends a measurement to the member at `addr`, if its state is known.
    pub(super) fn measure(&mut self, addr: SocketAddr, now: Instant) {
        let alive = self.table.in_state(MemberStatus::Alive);
        let Some(name) = alive.iter().find(|record| record.info.addr == addr).map(|record| record.info.name.clone()) else {
            return;
        };
        let token = self.rng.random();
        if self.pings.len() >= defaults::GOSSIP_MAX_PINGS {
            self.pings.pop_front();
        }
        // The answer has another name in it, and must not be longer than the question.
        let longer = name.len().saturating_sub(self.me.name.len());
        self.pings.push_back((token, name, now));
        if let Ok(mut bytes) = postcard::to_stdvec(&self.echo(token)) {
            bytes.resize(bytes.len() + longer, 0);
            self.send(addr, PING, &bytes);
        }
    }

    pub(super) fn hear_ping(&mut self, from: SocketAddr, data: &[u8], now: Instant) -> Result<(), Rejection> {
        let echo: Echo = postcard::from_bytes(data).map_err(|_error| Rejection::Junk)?;
        self.learn_coordinate(&echo.name, &echo.coordinate);
        let Ok(answer) = postcard::to_stdvec(&self.echo(echo.token)) else { return Ok(()) };
        // A packet may name any address as its source.
        if answer.len() <= data.len() || self.is_proven(from, now) {
            self.send(from, PONG, &answer);
        } else {
            self.send_short_echo(from, PONG, echo.token);
        }
        Ok(())
    }

    /// Learns from the answer to a measurement; an unexpected answer is ignored.
    pub(super) fn hear_pong(&mut self, data: &[u8], now: Instant) -> Result<(), Rejection> {
        let echo: Echo = postcard::from_bytes(data).map_err(|_error| Rejection::Junk)?;
        if self.hear_proof(echo.token, now) {
            return Ok(());
        }
        let Some(at) = self.pings.iter().position(|(token, name, _)| *token == echo.token && *name == echo.name) else {
            return Ok(());
        };
        if let Some((_, name, sent)) = self.pings.remove(at) {
            self.vivaldi.observe(&name, &echo.coordinate, now.saturating_duration_since(sent), &mut self.rng);
            self.learn_coordinate(&name, &echo.coordinate);
            // The member is still at this address.
            if let Some(addr) = self.table.get(&name).map(|record| record.info.addr) {
                self.prove(addr, now);
            }
        }
        Ok(())
    }

    /// Keeps the coordinate that a member of the table reports.
    pub(super) fn learn_coordinate(&mut self, name: &str, coordinate: &Coordinate) {
        if is_plausible(coordinate) && name != self.me.name && self.table.get(name).is_some() {
            self.coordinates.insert(name.to_owned(), coordinate.clone());
        }
    }

    fn echo(&self, token: u64) -> Echo {
        Echo { token, name: self.me.name.clone(), coordinate: self.vivaldi.coordinate().clone() }
    }

    /// Sends an echo without its sender: no longer than any question.
    pub(super) fn send_short_echo(&mut self, to: SocketAddr, kind: u8, token: u64) {
        let coordinate = Coordinate { vec: Vec::new(), ..Coordinate::default() };
        if let Ok(bytes) = postcard::to_stdvec(&Echo { token, name: String::new(), coordinate }) {
            self.send(to, kind, &bytes);
        }
    }
}
