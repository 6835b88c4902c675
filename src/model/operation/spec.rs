//! The columns of the table that reads and writes share.

/// The servers that can answer an operation within its datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any server, without a look at the catalog.
    AnyServer,
    /// Any server that has had contact with a leader once.
    AnyView,
    Leader,
}

/// The principals that may ask for an operation from another datacenter, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crosses {
    Users,
    /// Operators there that are trusted to operate this datacenter.
    Operators,
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Node,
    Service,
    /// An agent, by the name of its node.
    Agent,
    /// The datacenter as its operators see it.
    Operator,
    /// A key, by its bytes.
    Key,
    /// The sessions of a node, by its name.
    Session,
}

/// The condition on the principal of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Open,
    /// The right on every row that is read or written. A read leaves out other rows, a write is refused whole.
    Each(Right, &'static [Resource]),
    /// The right on the one resource, or all is refused.
    Whole(Right, Resource),
    /// The agent that the operation names.
    Agent,
    /// A server, of this datacenter or of another.
    Server,
    Leader,
}
