//! Round-trip times: a packet to a random member and back, with both coordinates. [`Core`] calls
//! this; it never says anything about who is alive.

use super::*;
use serde::{Deserialize, Serialize};

/// A measurement and its answer; both carry the sender's coordinate, so neither is larger.
#[derive(Debug, Serialize, Deserialize)]
struct Echo {
    token: u64,
    name: String,
    coordinate: Coordinate,
}

impl Core {
    /// Sends a measurement to a random member.
    pub(super) fn measure(&mut self, now: Instant) {
        let Some((name, addr)) = self
            .table
            .in_state(MemberStatus::Alive)
            .choose(&mut self.rng)
            .map(|record| (record.info.name.clone(), record.info.addr))
        else {
            return;
        };
        let token = self.rng.random();
        if self.pings.len() >= defaults::GOSSIP_MAX_PINGS {
            self.pings.pop_front();
        }
        self.pings.push_back((token, name, now));
        self.send_echo(addr, PING, token);
    }

    /// Answers a measurement.
    pub(super) fn hear_ping(&mut self, from: SocketAddr, data: &[u8]) -> Result<(), Refusal> {
        let echo: Echo = postcard::from_bytes(data).map_err(|_error| Refusal::Junk)?;
        self.learn_coordinate(&echo.name, &echo.coordinate);
        self.send_echo(from, PONG, echo.token);
        Ok(())
    }

    /// Learns from the answer to a measurement; an answer nobody waits for is nothing.
    pub(super) fn hear_pong(&mut self, data: &[u8], now: Instant) -> Result<(), Refusal> {
        let echo: Echo = postcard::from_bytes(data).map_err(|_error| Refusal::Junk)?;
        let Some(at) = self.pings.iter().position(|(token, name, _)| *token == echo.token && *name == echo.name) else {
            return Ok(());
        };
        if let Some((_, name, sent)) = self.pings.remove(at) {
            self.vivaldi.observe(&name, &echo.coordinate, now.saturating_duration_since(sent), &mut self.rng);
            self.learn_coordinate(&name, &echo.coordinate);
        }
        Ok(())
    }

    /// Keeps what a member of the table tells of where it lies.
    pub(super) fn learn_coordinate(&mut self, name: &str, coordinate: &Coordinate) {
        if coordinate.is_valid() && name != self.me.name && self.table.get(name).is_some() {
            self.coordinates.insert(name.to_owned(), coordinate.clone());
        }
    }

    fn send_echo(&mut self, to: SocketAddr, kind: u8, token: u64) {
        let echo = Echo { token, name: self.me.name.clone(), coordinate: self.vivaldi.coordinate().clone() };
        if let Ok(bytes) = postcard::to_stdvec(&echo) {
            self.send(to, kind, &bytes);
        }
    }
}
