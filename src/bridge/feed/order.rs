//! The order of answers: which may take the place of the one held. No I/O, no clock.
//! Within a cluster the index decides; between clusters the later arrival counts.

use super::message::Known;

/// An answer compared with the one held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The first answer.
    First,
    /// Of another cluster: it replaces everything.
    OtherCluster,
    /// Another body, at no lower index.
    Newer,
    /// The same body at another index, which moves along.
    Moved,
    /// The same body at the same index.
    Same,
    /// A lower index: it never takes the place of the one held.
    Older,
}

impl Order {
    /// Compares the answer that `came` with the one held.
    pub(super) fn of(held: Option<Known>, came: Known) -> Order {
        match held {
            None => Order::First,
            Some(held) if held.cluster != came.cluster => Order::OtherCluster,
            Some(held) if came.index < held.index => Order::Older,
            Some(held) if came.hash != held.hash => Order::Newer,
            Some(held) if came.index > held.index => Order::Moved,
            Some(_) => Order::Same,
        }
    }

    /// True if readers that wait are woken.
    pub(super) fn is_news(self) -> bool {
        matches!(self, Order::First | Order::OtherCluster | Order::Newer | Order::Moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::ClusterId;
    use uuid::Uuid;

    fn known(cluster: u128, index: u64, hash: u64) -> Known {
        Known { cluster: ClusterId(Uuid::from_u128(cluster)), index, hash }
    }

    #[test]
    fn the_index_decides_within_a_cluster_and_the_later_one_between_them() {
        let held = Some(known(1, 10, 7));
        for (came, order) in [
            (known(1, 9, 7), Order::Older),
            (known(1, 9, 8), Order::Older),
            (known(1, 10, 7), Order::Same),
            (known(1, 10, 8), Order::Newer),
            (known(1, 11, 7), Order::Moved),
            (known(1, 11, 8), Order::Newer),
            (known(2, 1, 7), Order::OtherCluster),
            (known(2, 10, 7), Order::OtherCluster),
        ] {
            assert_eq!(Order::of(held, came), order, "{came:?}");
        }
        assert_eq!(Order::of(None, known(1, 1, 1)), Order::First);
    }

    #[test]
    fn only_the_same_and_the_older_are_no_news() {
        assert!([Order::First, Order::OtherCluster, Order::Newer, Order::Moved].iter().all(|order| order.is_news()));
        assert!(![Order::Same, Order::Older].iter().any(|order| order.is_news()));
    }
}
