//! Addresses that have shown an agent. Without seals any packet can name any address as a member's; until that address has
//! answered, it gets a few short questions alone.
//! [`Core`] asks before it hears a stranger, and before it sends packets of the membership protocol; both are held back
//! until the answer. With seals only members name members, and nothing is held back.

use super::echo::SHORT_ECHO_BYTES;
use super::*;
use crate::gossip::replay::forget_half;

/// The addresses that have answered, and the open questions.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    proven: HashMap<SocketAddr, Instant>,
    asked: HashMap<SocketAddr, Asked>,
}

#[derive(Debug)]
struct Asked {
    token: u64,
    since: Instant,
    last: Instant,
    tries: u32,
    /// The agent's last packet.
    heard: Option<Vec<u8>>,
    /// Packets to be sent to it, the newest.
    unsent: VecDeque<Vec<u8>>,
}

impl Proofs {
    fn is_proven(&self, addr: SocketAddr, now: Instant) -> bool {
        self.proven.get(&addr).is_some_and(|at| now.saturating_duration_since(*at) < defaults::GOSSIP_PROOF_MEMORY)
    }

    /// The open question to `addr`, no older than the wait for an answer.
    fn asked(&mut self, addr: SocketAddr, token: u64, now: Instant) -> &mut Asked {
        let is_waited_for = |asked: &Asked| now.saturating_duration_since(asked.since) < defaults::GOSSIP_PROOF_WAIT;
        if !self.asked.get(&addr).is_some_and(is_waited_for) {
            self.asked.remove(&addr);
        }
        if !self.asked.contains_key(&addr) && self.asked.len() >= defaults::GOSSIP_MAX_UNPROVEN {
            self.asked.retain(|_, asked| is_waited_for(asked));
            let oldest = self.asked.iter().min_by_key(|(_, asked)| asked.since).map(|(addr, _)| *addr);
            if let Some(oldest) = oldest.filter(|_| self.asked.len() >= defaults::GOSSIP_MAX_UNPROVEN) {
                metrics::counter!("kontor.gossip.unproven_full").increment(1);
                self.asked.remove(&oldest);
            }
        }
        let begun = || Asked { token, since: now, last: now, tries: 0, heard: None, unsent: VecDeque::new() };
        self.asked.entry(addr).or_insert_with(begun)
    }

    fn prove(&mut self, addr: SocketAddr, now: Instant) -> Option<Asked> {
        if self.proven.len() >= 2 * defaults::GOSSIP_MAX_MEMBERS && !self.proven.contains_key(&addr) {
            forget_half(&mut self.proven, |at| *at);
        }
        self.proven.insert(addr, now);
        self.asked.remove(&addr)
    }
}

impl Asked {
    /// True when the question is due again; counts it.
    fn is_due(&mut self, now: Instant) -> bool {
        let rested = self.tries == 0 || now.saturating_duration_since(self.last) >= defaults::GOSSIP_PROOF_PAUSE;
        if !rested || self.tries >= defaults::GOSSIP_PROOF_TRIES {
            return false;
        }
        (self.tries, self.last) = (self.tries + 1, now);
        true
    }
}

impl Core {
    /// True if more than a short question may be sent there.
    pub(super) fn is_proven(&self, addr: SocketAddr, now: Instant) -> bool {
        self.envelope.is_encrypted() || self.proofs.is_proven(addr, now)
    }

    /// Asks for an agent at `addr`, a few times at most.
    pub(super) fn ask_for_proof(&mut self, addr: SocketAddr, now: Instant) {
        let token = self.rng.random();
        let asked = self.proofs.asked(addr, token, now);
        if asked.is_due(now) {
            let token = asked.token;
            self.send_short_echo(addr, PING, token);
        }
    }

    /// Keeps a stranger's last packet until its address has answered a question, which is no longer than that packet.
    pub(super) fn hear_later(&mut self, addr: SocketAddr, data: &[u8], now: Instant) {
        if data.len() < SHORT_ECHO_BYTES {
            return;
        }
        let token = self.rng.random();
        self.proofs.asked(addr, token, now).heard = Some(data.to_vec());
        self.ask_for_proof(addr, now);
    }

    /// Sends a packet of the membership protocol, now or after the address has answered.
    pub(super) fn send_membership(&mut self, to: SocketAddr, data: &[u8], now: Instant) {
        if self.is_proven(to, now) {
            return self.send(to, MEMBERSHIP, data);
        }
        let token = self.rng.random();
        let unsent = &mut self.proofs.asked(to, token, now).unsent;
        if unsent.len() >= defaults::GOSSIP_MAX_UNSENT {
            metrics::counter!("kontor.gossip.unproven").increment(1);
            unsent.pop_front();
        }
        unsent.push_back(data.to_vec());
        self.ask_for_proof(to, now);
    }

    /// Takes an answer with this token; true if it was expected.
    pub(super) fn hear_proof(&mut self, token: u64, now: Instant) -> bool {
        let of = self.proofs.asked.iter().find(|(_, asked)| asked.token == token && asked.tries > 0).map(|(addr, _)| *addr);
        if let Some(addr) = of {
            self.prove(addr, now);
        }
        of.is_some()
    }

    /// Notes an agent at this address, by a connection to it or from it.
    pub(super) fn prove(&mut self, addr: SocketAddr, now: Instant) {
        if self.envelope.is_encrypted() {
            return;
        }
        let Some(asked) = self.proofs.prove(addr, now) else { return };
        for data in asked.unsent {
            self.send(addr, MEMBERSHIP, &data);
        }
        if let Some(data) = asked.heard {
            // Refusals are counted, as for a packet in time; none is answered.
            if let Err(refusal) = self.hear(&data, now) {
                metrics::counter!("kontor.gossip.refused", "reason" => refusal.label()).increment(1);
            }
            self.settle(now);
        }
    }
}
