//! Bob Jenkins' lookup3 as PostgreSQL has it, with a 64-bit seed (`common/hashfn.c`, little-endian paths).

/// The golden ratio's start value and PostgreSQL's own increment.
const START: u32 = 0x9e37_79b9_u32.wrapping_add(3_923_095);

/// `hash_bytes_extended`.
pub(super) fn hash_bytes(key: &[u8], seed: u64) -> u64 {
    // The server's length is an int; no value of it is longer than 1 GB.
    let mut state = State::new(u32::try_from(key.len()).unwrap_or(u32::MAX), seed);
    let (blocks, tail) = key.as_chunks::<12>();
    for block in blocks {
        let [a, b, c] = words(block);
        state.add(a, b, c);
        state.mix();
    }
    // The lowest byte of c is reserved for the length: the last word of the tail starts one byte higher.
    let mut last = [0; 12];
    for (at, byte) in tail.iter().enumerate() {
        let place = if at < 8 { at } else { at + 1 };
        if let Some(slot) = last.get_mut(place) {
            *slot = *byte;
        }
    }
    let [a, b, c] = words(&last);
    state.add(a, b, c);
    state.finish()
}

/// `hash_bytes_uint32_extended`.
pub(super) fn hash_u32(key: u32, seed: u64) -> u64 {
    let mut state = State::new(4, seed);
    state.add(key, 0, 0);
    state.finish()
}

fn words(block: &[u8; 12]) -> [u32; 3] {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3] = *block;
    [
        u32::from_le_bytes([a0, a1, a2, a3]),
        u32::from_le_bytes([b0, b1, b2, b3]),
        u32::from_le_bytes([c0, c1, c2, c3]),
    ]
}

struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the seed are what is wanted"
    )]
    fn new(length: u32, seed: u64) -> Self {
        let start = START.wrapping_add(length);
        let mut state = Self {
            a: start,
            b: start,
            c: start,
        };
        if seed != 0 {
            state.add((seed >> 32) as u32, seed as u32, 0);
            state.mix();
        }
        state
    }

    fn add(&mut self, a: u32, b: u32, c: u32) {
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    fn mix(&mut self) {
        let Self { mut a, mut b, mut c } = *self;
        (a, c) = (a.wrapping_sub(c) ^ c.rotate_left(4), c.wrapping_add(b));
        (b, a) = (b.wrapping_sub(a) ^ a.rotate_left(6), a.wrapping_add(c));
        (c, b) = (c.wrapping_sub(b) ^ b.rotate_left(8), b.wrapping_add(a));
        (a, c) = (a.wrapping_sub(c) ^ c.rotate_left(16), c.wrapping_add(b));
        (b, a) = (b.wrapping_sub(a) ^ a.rotate_left(19), a.wrapping_add(c));
        (c, b) = (c.wrapping_sub(b) ^ b.rotate_left(4), b.wrapping_add(a));
        *self = Self { a, b, c };
    }

    fn finish(self) -> u64 {
        let Self { mut a, mut b, mut c } = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        u64::from(b) << 32 | u64::from(c)
    }
}
