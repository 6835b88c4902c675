//! The columns of the table that reads and writes share.

/// Who can answer an operation within its datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Any server, without a look at the catalog.
    AnyServer,
    /// Any server that has had contact with a leader once.
    AnyView,
    /// The leader.
    Leader,
}

/// Who may ask for an operation from another datacenter, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crosses {
    /// Everybody there.
    Users,
    /// Who is trusted to operate this datacenter from there.
    Operators,
    /// Nobody.
    Nobody,
}

/// What one may do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See it.
    Read,
    /// Change it.
    Write,
}

/// What a right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A node, by its name.
    Node,
    /// A service, by its name.
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

/// What who asks for an operation must be, or have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// The right on every row that is read or written. A read leaves out other rows, a write is refused whole.
    Each(Right, &'static [Resource]),
    /// The right on the one resource, or all is refused.
    Whole(Right, Resource),
    /// The agent that the operation names.
    Agent,
    /// A server, of this datacenter or of another.
    Server,
    /// The leader's own duties.
    Leader,
}
