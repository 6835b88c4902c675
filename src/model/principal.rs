//! Who asks: every read and every write carries it, over every hop.

use super::ids::Token;
use serde::{Deserialize, Serialize};

/// Who asks. There is no default: whoever makes a request says whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// Whoever has this secret; everybody has the empty one.
    Token(Token),
    /// The agent of this node, for itself. Another agent believes it where the connection proves it.
    Agent(Box<str>),
    /// The leader's duties. They write at the leader itself, so it is never believed of another agent.
    Leader,
}

impl Principal {
    /// A user without a token.
    pub fn anonymous() -> Principal {
        Principal::Token(Token::default())
    }

    /// The agent of `node`, for itself.
    pub fn agent(node: &str) -> Principal {
        Principal::Agent(node.into())
    }

    /// Who acts by what was registered with `token`: its holder, or where none was named the agent of `node`.
    pub fn of_registration(token: &Token, node: &str) -> Principal {
        if token.is_empty() { Principal::agent(node) } else { Principal::Token(token.clone()) }
    }

    /// Whether it is the agent of `node`.
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
