//! Round-trip times: a packet to the member that is probed and back, with both coordinates. [`Core`] calls
//! this; it never says anything about who is alive.

use super::super::vivaldi::is_plausible;
use super::*;
use serde::{Deserialize, Serialize};

/// A measurement and its answer; both carry the sender's coordinate. What comes behind it is padding.
#[derive(Debug, Serialize, Deserialize)]
struct Echo {
    token: u64,
    name: String,
    coordinate: Coordinate,
}

/// The bytes of one that tells nothing of its sender at most: a token, two lengths, three numbers.
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
        // The answer has another name in it, and must not be longer than what asks for it.
        let longer = name.len().saturating_sub(self.me.name.len());
        self.pings.push_back((token, name, now));
        if let Ok(mut bytes) = postcard::to_stdvec(&self.echo(token)) {
            bytes.resize(bytes.len() + longer, 0);
            self.send(addr, PING, &bytes);
        }
    }

    /// Answers a measurement.
    pub(super) fn hear_ping(&mut self, from: SocketAddr, data: &[u8], now: Instant) -> Result<(), Rejection> {
        let echo: Echo = postcard::from_bytes(data).map_err(|_error| Rejection::Junk)?;
        self.learn_coordinate(&echo.name, &echo.coordinate);
        let Ok(answer) = postcard::to_stdvec(&self.echo(echo.token)) else { return Ok(()) };
        // Where a packet says it comes from is not where it must come from.
        if answer.len() <= data.len() || self.is_proven(from, now) {
            self.send(from, PONG, &answer);
        } else {
            self.send_short_echo(from, PONG, echo.token);
        }
        Ok(())
    }

    /// Learns from the answer to a measurement; an answer nobody waits for is nothing.
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
            // It is still where it was asked.
            if let Some(addr) = self.table.get(&name).map(|record| record.info.addr) {
                self.prove(addr, now);
            }
        }
        Ok(())
    }

    /// Keeps what a member of the table tells of where it lies.
    pub(super) fn learn_coordinate(&mut self, name: &str, coordinate: &Coordinate) {
        if is_plausible(coordinate) && name != self.me.name && self.table.get(name).is_some() {
            self.coordinates.insert(name.to_owned(), coordinate.clone());
        }
    }

    fn echo(&self, token: u64) -> Echo {
        Echo { token, name: self.me.name.clone(), coordinate: self.vivaldi.coordinate().clone() }
    }

    /// One that tells nothing of this agent: no longer than anything that asks for it.
    pub(super) fn send_short_echo(&mut self, to: SocketAddr, kind: u8, token: u64) {
        let coordinate = Coordinate { vec: Vec::new(), ..Coordinate::default() };
        if let Ok(bytes) = postcard::to_stdvec(&Echo { token, name: String::new(), coordinate }) {
            self.send(to, kind, &bytes);
        }
    }
}
