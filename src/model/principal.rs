//! The principal: every read and every write carries it, over every hop.

use super::ids::Token;
use serde::{Deserialize, Serialize};

/// The user, agent or leader that makes a request. It has no default.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// The holder of this secret; every user holds the empty one.
    Token(Token),
    /// The agent of this node, for itself. Another agent believes it where the connection proves it.
    Agent(Box<str>),
    /// The leader's duties. They write at the leader itself, so it is never believed of another agent.
    Leader,
}

impl Principal {
    pub fn anonymous() -> Principal {
        Principal::Token(Token::default())
    }

    pub fn agent(node: &str) -> Principal {
        Principal::Agent(node.into())
    }

    /// The principal of a registration: the holder of its `token`, or without one the agent of `node`.
    pub fn of_registration(token: &Token, node: &str) -> Principal {
        if token.is_empty() { Principal::agent(node) } else { Principal::Token(token.clone()) }
    }

    pub fn is_agent(&self, node: &str) -> bool {
        match self {
            Principal::Agent(name) => name.eq_ignore_ascii_case(node),
            Principal::Token(_) | Principal::Leader => false,
        }
    }

    /// Bytes in memory of its text.
    pub fn text_bytes(&self) -> usize {
        match self {
            Principal::Token(token) => token.0.len(),
            Principal::Agent(node) => node.len(),
            Principal::Leader => 0,
        }
    }
}
