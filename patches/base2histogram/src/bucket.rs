//! Where the buckets lie.
//!
//! From 4 on, each power of two is split into four buckets of equal width; smaller values have a bucket
//! each. So a bucket is at most a quarter as wide as its least value, and those below 8 hold one value.

/// Bits after a value's highest one that tell its bucket among those of the same power of two.
const OFFSET_BITS: u32 = 2;

/// Buckets to each power of two.
const PER_POWER: usize = 1 << OFFSET_BITS;

/// A range of values that are counted together, named by its position from the smallest values up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket(usize);

impl Bucket {
    /// How many there are: enough for every `u64`.
    pub(crate) const COUNT: usize = PER_POWER * (u64::BITS - OFFSET_BITS + 1) as usize;

    const LAST: Bucket = Bucket(Bucket::COUNT - 1);

    /// All of them, in order of their values.
    pub(crate) fn all() -> impl Iterator<Item = Bucket> {
        (0..Bucket::COUNT).map(Bucket)
    }

    /// The one that `value` is counted in.
    pub(crate) fn of(value: u64) -> Bucket {
        let shift = value.checked_ilog2().unwrap_or(0).saturating_sub(OFFSET_BITS);
        Bucket(PER_POWER * shift as usize + (value >> shift) as usize)
    }

    /// Its position, below [`Bucket::COUNT`].
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// The next smaller one; the first is its own.
    pub(crate) fn before(self) -> Bucket {
        Bucket(self.0.saturating_sub(1))
    }

    /// The next larger one; the last is its own.
    pub(crate) fn after(self) -> Bucket {
        if self.is_last() { self } else { Bucket(self.0 + 1) }
    }

    /// Whether it ends with `u64::MAX`.
    pub(crate) fn is_last(self) -> bool {
        self == Bucket::LAST
    }

    /// The least value in it.
    pub(crate) fn left(self) -> u64 {
        let shift = self.shift();
        ((self.0 - PER_POWER * shift) as u64) << shift
    }

    /// The value after its greatest, except for the last bucket: that one's greatest value, `u64::MAX`.
    pub(crate) fn right(self) -> u64 {
        self.left().saturating_add(self.width())
    }

    /// How many values it holds: a power of two.
    pub(crate) fn width(self) -> u64 {
        1 << self.shift()
    }

    /// The value half-way from `left` to `right`, rounded down.
    pub(crate) fn midpoint(self) -> u64 {
        self.left().midpoint(self.right())
    }

    /// How many low bits of a value do not matter to whether it belongs here.
    fn shift(self) -> usize {
        (self.0 / PER_POWER).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_have_a_bucket_each() {
        for value in 0..8 {
            let bucket = Bucket::of(value);
            assert_eq!((bucket.index() as u64, bucket.left(), bucket.right()), (value, value, value + 1));
        }
    }

    #[test]
    fn powers_of_two_are_split_in_four() {
        let bounds = |value| {
            let bucket = Bucket::of(value);
            (bucket.index(), bucket.left(), bucket.right(), bucket.width(), bucket.midpoint())
        };
        assert_eq!(bounds(8), (8, 8, 10, 2, 9));
        assert_eq!(bounds(15), (11, 14, 16, 2, 15));
        assert_eq!(bounds(16), (12, 16, 20, 4, 18));
        assert_eq!(bounds(42), (17, 40, 48, 8, 44));
        assert_eq!(bounds(1000), (35, 896, 1024, 128, 960));
        assert_eq!(bounds(u64::MAX), (251, 7 << 61, u64::MAX, 1 << 61, 0xefff_ffff_ffff_ffff));
    }

    #[test]
    fn buckets_cover_every_value_once() {
        assert_eq!(Bucket::COUNT, 252);
        assert_eq!(Bucket::of(0).left(), 0);
        for bucket in Bucket::all() {
            assert_eq!(Bucket::of(bucket.left()), bucket);
            assert_eq!(Bucket::of(bucket.left() + (bucket.width() - 1)), bucket);
            if bucket.is_last() {
                assert_eq!((bucket.after(), bucket.right()), (bucket, u64::MAX));
            } else {
                assert_eq!(bucket.after().left(), bucket.right());
                assert_eq!(bucket.after().before(), bucket);
            }
        }
        assert_eq!(Bucket::of(0).before(), Bucket::of(0));
    }
}
